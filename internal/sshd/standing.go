package sshd

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"pgo/internal/backoff"
)

// maxRecords bounds the number of sources whose logins are remembered.
const maxRecords = 4096

// standing ranks sources by what is expected of them, the worst first.
type standing int

const (
	failing standing = iota // logins have failed again and again
	unknown
	proven // a login has worked
)

// records remembers how logins went, by source: a source whose logins keep failing is slowed
// down, and one that has logged in before goes first if not all can be served.
type records struct {
	limits Limits // set by newRecords, then immutable

	mu sync.Mutex // guards by
	by map[netip.Prefix]record
}

type record struct {
	worked   bool      // a login, at any time
	failures int       // in a row, as of
	since    time.Time // since then they are forgotten one by one
}

func newRecords(l Limits) *records {
	return &records{limits: l, by: map[netip.Prefix]record{}}
}

// works records a login that worked. It makes up for all that failed.
func (r *records) works(source netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(source, record{worked: true, since: time.Now()})
}

// fails records a login that failed, and returns how long the next one of that source has to
// wait.
func (r *records) fails(source netip.Prefix) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	old := r.by[source]
	failures := r.left(old, now)
	if r.after(failures) < r.limits.LastDelay { // otherwise forgetting would take longer and longer
		failures++
	}
	r.put(source, record{old.worked, failures, now})
	return r.after(failures)
}

// of returns a source's standing, and how long its next login has to wait.
func (r *records) of(source netip.Prefix) (standing, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	record := r.by[source]
	delay := r.after(r.left(record, time.Now()))
	switch {
	case delay > 0:
		return failing, delay
	case record.worked:
		return proven, 0
	}
	return unknown, 0
}

// left returns how many failures still count.
func (r *records) left(of record, now time.Time) int {
	return max(of.failures-int(now.Sub(of.since)/r.limits.Forget), 0)
}

// after returns the delay after so many failures.
func (r *records) after(failures int) time.Duration {
	delays := backoff.Delays{First: r.limits.FirstDelay, Last: r.limits.LastDelay}
	return delays.After(failures - r.limits.Failures + 1)
}

func (r *records) put(source netip.Prefix, of record) {
	if _, known := r.by[source]; !known && len(r.by) >= maxRecords {
		r.forgetHalf()
	}
	r.by[source] = of
}

// forgetHalf makes room. Sources with few failures are forgotten first, so nobody gets rid of its
// own many failures, or of the standing of others, by a few failures from each of many other
// addresses.
func (r *records) forgetHalf() {
	now := time.Now()
	worth := func(source netip.Prefix) int {
		failures := r.left(r.by[source], now)
		if r.by[source].worked {
			failures += r.limits.Failures
		}
		return failures
	}
	sources := slices.SortedFunc(maps.Keys(r.by), func(a, b netip.Prefix) int {
		return cmp.Or(worth(a)-worth(b), r.by[a].since.Compare(r.by[b].since))
	})
	for _, source := range sources[:len(sources)/2] {
		delete(r.by, source)
	}
}
