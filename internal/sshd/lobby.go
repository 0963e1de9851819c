package sshd

import (
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
	errNoTurn   = errors.New("too many of its source are logging in")
	errMadeRoom = errors.New("it made room for another one")
)

// visitor is a connection that has not logged in yet.
type visitor struct {
	// Set by newVisitor, then immutable.
	conn   net.Conn
	addr   netip.Addr
	source netip.Prefix
	end    context.CancelCauseFunc // ends all that is done for it
	turn   chan struct{}           // closed when it is let in

	spoke atomic.Bool // it has said something
}

func newVisitor(conn net.Conn, end context.CancelCauseFunc) *visitor {
	addr := addressOf(conn.RemoteAddr())
	return &visitor{conn: conn, addr: addr, source: sourceOf(addr), end: end, turn: make(chan struct{})}
}

// await waits until the visitor is let in, and returns why it is not.
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

// lobby has the connections that have not logged in yet: so many in all, and so many of one
// source.
//
// Whoever comes when its own source has all its places waits for one of them, for a moment:
// twenty jobs of one machine may start at the same time. Whoever comes when all places are
// taken gets that of another one, since else a few machines that say nothing would keep
// everybody out.
type lobby struct {
	inside, waiting crowd // their bounds are set by newLobby, then immutable

	mu sync.Mutex // guards the visitors of both
}

// crowd is some visitors, in the order in which they came.
type crowd struct {
	all, each int // how many there may be, and how many of one source
	visitors  []*visitor
}

func newLobby(l Limits) *lobby {
	return &lobby{
		inside:  crowd{all: l.Logins, each: l.LoginsPerSource},
		waiting: crowd{all: l.Waiting, each: l.WaitingPerSource},
	}
}

// enter lets a visitor in or has it wait for its turn, and returns who had to leave for
// that, if anybody had. It reports false if there is no place for the visitor.
func (l *lobby) enter(v *visitor) (gone *visitor, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inside.of(v.source) < l.inside.each {
		if len(l.inside.visitors) >= l.inside.all {
			gone = l.inside.evict(l.inside.victim())
		}
		l.admit(v)
		return gone, true
	}
	mine := l.waiting.of(v.source)
	if mine >= l.waiting.each {
		return nil, false
	}
	if len(l.waiting.visitors) >= l.waiting.all {
		// Only somebody who is left with no fewer than this one then has.
		victim := l.waiting.victim()
		if l.waiting.of(victim.source) <= mine+1 {
			return nil, false
		}
		gone = l.waiting.evict(victim)
	}
	l.waiting.visitors = append(l.waiting.visitors, v)
	return gone, true
}

// leave is for a visitor that has logged in or is gone; it may be called again. Its place is
// that of the first who waits and may have it.
func (l *lobby) leave(v *visitor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside.remove(v)
	l.waiting.remove(v)
	for _, w := range slices.Clone(l.waiting.visitors) {
		if len(l.inside.visitors) >= l.inside.all {
			return
		}
		if l.inside.of(w.source) < l.inside.each {
			l.waiting.remove(w)
			l.admit(w)
		}
	}
}

func (l *lobby) admit(v *visitor) {
	l.inside.visitors = append(l.inside.visitors, v)
	close(v.turn)
}

func (c *crowd) remove(v *visitor) {
	if i := slices.Index(c.visitors, v); i >= 0 {
		c.visitors = slices.Delete(c.visitors, i, i+1)
	}
}

// of counts the visitors of a source.
func (c *crowd) of(source netip.Prefix) int {
	n := 0
	for _, v := range c.visitors {
		if v.source == source {
			n++
		}
	}
	return n
}

// victim is who has to leave first: the one that has been there longest of the source that
// has most. Where a quarter or more have not said a word, it is taken from these alone:
// a client begins to speak when it is connected, so those who have are people at work, and
// those who have not are there to fill the place.
func (c *crowd) victim() *visitor {
	from := slices.DeleteFunc(slices.Clone(c.visitors), func(v *visitor) bool { return v.spoke.Load() })
	if len(from) == 0 || len(from) < len(c.visitors)/4 {
		from = c.visitors
	}
	have := map[netip.Prefix]int{}
	for _, v := range from {
		have[v.source]++
	}
	victim := from[0]
	for _, v := range from {
		if have[v.source] > have[victim.source] {
			victim = v
		}
	}
	return victim
}

func (c *crowd) evict(v *visitor) *visitor {
	c.remove(v)
	v.end(errMadeRoom)
	v.conn.Close()
	return v
}
