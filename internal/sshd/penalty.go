package sshd

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// maxPenalties bounds of how many sources it is known that their logins failed.
const maxPenalties = 4096

// penalties remembers from where logins have failed, so that whoever goes on trying is
// slowed down. A login that works wipes out all of its source.
type penalties struct {
	limits Limits // set by newPenalties, then immutable

	mu sync.Mutex // guards by
	by map[netip.Prefix]penalty
}

// penalty is how many logins failed in a row, as of a time.
type penalty struct {
	failures int
	since    time.Time // failures are forgotten one by one from then on
}

func newPenalties(l Limits) *penalties {
	return &penalties{limits: l, by: map[netip.Prefix]penalty{}}
}

// fail notes that a login failed, and returns what the next one of that source has to wait.
func (p *penalties) fail(source netip.Prefix) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	failed, known := p.by[source]
	if !known && len(p.by) >= maxPenalties {
		p.forgetHalf(now)
	}
	failures := p.left(failed, now)
	if p.after(failures) < p.limits.LastDelay { // else it would take ever longer to be forgotten
		failures++
	}
	p.by[source] = penalty{failures, now}
	return p.after(failures)
}

func (p *penalties) forgive(source netip.Prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.by, source)
}

// delay returns what the next login of a source has to wait.
func (p *penalties) delay(source netip.Prefix) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.after(p.left(p.by[source], time.Now()))
}

// left is how many failures still count.
func (p *penalties) left(failed penalty, now time.Time) int {
	return max(failed.failures-int(now.Sub(failed.since)/p.limits.Forget), 0)
}

// after is the delay that so many failures lead to.
func (p *penalties) after(failures int) time.Duration {
	if failures < p.limits.Failures {
		return 0
	}
	delay := p.limits.FirstDelay
	for range failures - p.limits.Failures {
		if delay *= 2; delay >= p.limits.LastDelay {
			return p.limits.LastDelay
		}
	}
	return delay
}

// forgetHalf makes room. Those are forgotten that have failed least, so that nobody gets rid
// of many failures of its own by a few from each of many other addresses.
func (p *penalties) forgetHalf(now time.Time) {
	sources := slices.SortedFunc(maps.Keys(p.by), func(a, b netip.Prefix) int {
		return p.left(p.by[a], now) - p.left(p.by[b], now)
	})
	for _, source := range sources[:len(sources)/2] {
		delete(p.by, source)
	}
}
