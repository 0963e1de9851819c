package sshd

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errNoTurn   = errors.New("too many are logging in")
	errMadeRoom = errors.New("it made room for another one")
)

// visitor is a connection that has not logged in yet.
type visitor struct {
	// Set before it enters the lobby, then immutable.
	conn   net.Conn
	addr   netip.Addr
	source netip.Prefix
	end    context.CancelCauseFunc // ends everything that is done for it
	turn   chan struct{}           // closed when it is let in

	progress atomic.Int32 // how far its login has come

	// Guarded by the mutex of its lobby.
	standing standing
	since    time.Time // when it was let in
}

// How far a login has come.
const (
	silent = iota
	speaking
	keysExchanged
)

// await waits until the visitor is let in, or returns why it is not.
func (v *visitor) await(ctx context.Context, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-v.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return errNoTurn
	}
}

// lobby has the connections that have not logged in yet. It serves those inside, which are
// limited in all and by source. Twenty jobs of one machine may start at the same time: those that
// find no place wait for one, but not for long.
//
// When all places are taken, the one that matters least makes room for a newcomer. Otherwise a
// client with a few dozen addresses could keep everybody out by saying nothing. But a visitor
// that has only just come stays: else all would be sent away as fast as others come, and nobody
// would ever log in.
type lobby struct {
	limits Limits // set by newLobby, then immutable

	mu      sync.Mutex // guards what follows
	inside  crowd
	waiting crowd
	timer   *time.Timer // lets those in that wait; nil: none does
}

// crowd is a list of visitors, in the order in which they came.
type crowd []*visitor

func newLobby(l Limits) *lobby { return &lobby{limits: l} }

// enter lets a visitor in or has it wait. It reports false if there is no place to wait either.
func (l *lobby) enter(v *visitor) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.admitWaiting() // otherwise the newcomer would overtake them
	if l.admit(v) {
		return true
	}
	mine := l.waiting.of(v.source)
	if mine >= l.limits.WaitingPerSource {
		return false
	}
	if len(l.waiting) >= l.limits.Waiting {
		other := l.waiting.victim()
		if other.standing > v.standing || other.standing == v.standing && l.waiting.of(other.source) <= mine+1 {
			return false
		}
		l.waiting.evict(other)
	}
	l.waiting = append(l.waiting, v)
	if l.timer == nil {
		l.timer = time.AfterFunc(l.limits.Stay/4, l.letIn)
	}
	return true
}

// admit lets a visitor in if there is a place, or another visitor that makes room.
func (l *lobby) admit(v *visitor) bool {
	if l.inside.of(v.source) >= l.limits.LoginsPerSource || !l.makeRoom(v.standing) {
		return false
	}
	l.place(v)
	return true
}

// makeRoom makes a place inside for a visitor of this standing if necessary, and reports whether
// there is one.
func (l *lobby) makeRoom(s standing) bool {
	if len(l.inside) < l.limits.Logins {
		return true
	}
	other := l.inside.where(func(v *visitor) bool { return v.standing <= s && l.hasStayed(v) }).victim()
	if other == nil {
		return false
	}
	l.inside.evict(other)
	return true
}

// hasStayed reports whether a visitor has had its time. One that has exchanged keys stays longer:
// that has cost somebody effort, if only pgod, which cannot do too many of them a second.
func (l *lobby) hasStayed(v *visitor) bool {
	stay := l.limits.Stay
	if v.progress.Load() == keysExchanged {
		stay *= 4
	}
	return time.Since(v.since) >= stay
}

func (l *lobby) place(v *visitor) {
	v.since = time.Now()
	l.inside = append(l.inside, v)
	close(v.turn)
}

// leave is for a visitor that has logged in or is gone; it may be called more than once.
func (l *lobby) leave(v *visitor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside.remove(v)
	l.waiting.remove(v)
	l.admitWaiting()
}

// spare has a visitor make room before all others: it has nothing left to wait for.
func (l *lobby) spare(v *visitor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v.standing, v.since = failing, time.Time{}
}

// letIn is called repeatedly while a visitor waits.
func (l *lobby) letIn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.admitWaiting(); len(l.waiting) > 0 {
		l.timer.Reset(l.limits.Stay / 4)
	} else {
		l.timer = nil
	}
}

// admitWaiting lets in those that may: the best standing first, and in the order in which they
// came.
func (l *lobby) admitWaiting() {
	for _, s := range []standing{proven, unknown, failing} {
		for _, w := range l.waiting.where(func(w *visitor) bool { return w.standing == s }) {
			if l.inside.of(w.source) >= l.limits.LoginsPerSource {
				continue
			}
			if !l.makeRoom(s) {
				return // there would be none for those that follow either
			}
			l.waiting.remove(w)
			l.place(w)
		}
	}
}

func (c *crowd) remove(v *visitor) {
	if i := slices.Index(*c, v); i >= 0 {
		*c = slices.Delete(*c, i, i+1)
	}
}

func (c *crowd) evict(v *visitor) {
	c.remove(v)
	v.end(errMadeRoom)
	v.conn.Close()
}

func (c crowd) where(holds func(*visitor) bool) (some crowd) {
	for _, v := range c {
		if holds(v) {
			some = append(some, v)
		}
	}
	return some
}

// of counts the visitors of a source.
func (c crowd) of(source netip.Prefix) (n int) {
	for _, v := range c {
		if v.source == source {
			n++
		}
	}
	return n
}

// victim returns the visitor that matters least, nil if there is none: one of the worst standing,
// of these one of the source that has most, of these one whose login has come least far, and of
// these the one that has been there longest.
func (c crowd) victim() (victim *visitor) {
	have := map[netip.Prefix]int{}
	for _, v := range c {
		have[v.source]++
	}
	for _, v := range c {
		if victim == nil || cmp.Or(
			cmp.Compare(v.standing, victim.standing),
			cmp.Compare(have[victim.source], have[v.source]),
			cmp.Compare(v.progress.Load(), victim.progress.Load()),
		) < 0 {
			victim = v
		}
	}
	return victim
}
