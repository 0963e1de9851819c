package sshd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgo/internal/wait"
)

// comers makes visitors for a lobby.
type comers struct {
	*testing.T
	*lobby
}

// inLobby runs a test with a synthetic clock.
func inLobby(t *testing.T, test func(t *testing.T, c comers)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, comers{t, newLobby(Limits{
			Logins: 8, LoginsPerSource: 3, Waiting: 6, WaitingPerSource: 4, Stay: time.Second,
		})})
	})
}

type closable struct {
	net.Conn
	closed atomic.Bool
}

func (c *closable) Close() error { c.closed.Store(true); return nil }

// visitor returns a visitor from the n-th source.
func (c comers) visitor(n int, s standing) *visitor {
	_, end := context.WithCancelCause(c.Context())
	return &visitor{
		conn: &closable{}, source: netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/32", n)), standing: s,
		end: end, turn: make(chan struct{}),
	}
}

// comes has a stranger come and checks that it is inside or waits.
func (c comers) comes(n int, inside bool) *visitor {
	c.Helper()
	return c.comesWith(n, unknown, inside)
}

func (c comers) comesWith(n int, s standing, inside bool) *visitor {
	c.Helper()
	v := c.visitor(n, s)
	if ok := c.enter(v); !ok || v.isIn() != inside {
		c.Fatalf("one of source %d comes: ok %v, inside %v", n, ok, v.isIn())
	}
	return v
}

// evicts has a visitor come and checks that it takes the place of the one given.
func (c comers) evicts(n int, s standing, who *visitor) *visitor {
	c.Helper()
	v := c.visitor(n, s)
	there := len(c.inside) + len(c.waiting)
	if ok := c.enter(v); !ok || !who.wasEvicted() || len(c.inside)+len(c.waiting) != there {
		c.Fatalf("one of source %d comes: ok %v, and there are %d inside and %d waiting", n, ok, len(c.inside), len(c.waiting))
	}
	c.leave(who) // as its handler does
	return v
}

func (c comers) isRefused(n int, s standing) {
	c.Helper()
	if c.enter(c.visitor(n, s)) {
		c.Errorf("one of source %d finds a place", n)
	}
}

func (v *visitor) wasEvicted() bool { return v.conn.(*closable).closed.Load() }

func (v *visitor) isIn() bool {
	select {
	case <-v.turn:
		return true
	default:
		return false
	}
}

func TestLobbyHasTurns(t *testing.T) {
	inLobby(t, func(t *testing.T, c comers) {
		var inside, waiting []*visitor
		for range 3 {
			inside = append(inside, c.comes(1, true))
		}
		for range 4 {
			waiting = append(waiting, c.comes(1, false))
		}
		c.isRefused(1, unknown)
		c.comes(2, true)

		c.leave(waiting[1]) // it does not want to wait any longer
		c.leave(inside[1])
		c.leave(inside[1])
		if !waiting[0].isIn() || waiting[1].isIn() || waiting[2].isIn() {
			t.Error("the next one inside is not the first one waiting")
		}
		c.leave(inside[0])
		c.leave(inside[2])
		if !waiting[2].isIn() || !waiting[3].isIn() || len(c.waiting) != 0 || len(c.inside) != 4 {
			t.Error("in the end not all are inside")
		}
		for _, v := range []*visitor{waiting[0], waiting[2], waiting[3], c.inside[0]} {
			c.leave(v)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(c.inside) != 0 || c.timer != nil {
			t.Error("the lobby is not empty, or its timer is set")
		}
	})
}

// fill has eight strangers come, each from another source.
func (c comers) fill() (all []*visitor) {
	for n := range 8 {
		all = append(all, c.comes(100+n, true))
	}
	return all
}

func TestFullLobbyMakesRoom(t *testing.T) {
	inLobby(t, func(t *testing.T, c comers) {
		first := c.fill()
		next := c.comes(1, false)
		time.Sleep(999 * time.Millisecond)
		if synctest.Wait(); next.isIn() || first[0].wasEvicted() {
			t.Error("one that had only just come made room")
		}
		time.Sleep(time.Second)
		if synctest.Wait(); !next.isIn() || !first[0].wasEvicted() || first[1].wasEvicted() {
			t.Error("the oldest did not make room for the one that waited")
		}
		c.evicts(2, unknown, first[1])
		c.evicts(3, unknown, first[2])
	})
}

func TestWhoMakesRoom(t *testing.T) {
	inLobby(t, func(t *testing.T, c comers) { // one of the source that has most, though it came last
		for n := range 5 {
			c.comes(100+n, true)
		}
		first, second := c.comes(1, true), c.comes(1, true)
		third := c.comes(1, true)
		time.Sleep(time.Second)
		c.evicts(2, unknown, first)
		first.progress.Store(keysExchanged)
		third.progress.Store(speaking)
		c.evicts(3, unknown, second)
	})
	inLobby(t, func(t *testing.T, c comers) { // the one whose login has come least far
		first := c.fill()
		for i, v := range first {
			v.progress.Store(keysExchanged)
			if i > 5 {
				v.progress.Store(speaking)
			}
		}
		time.Sleep(time.Second)
		c.evicts(1, unknown, first[6]).progress.Store(keysExchanged)
		c.evicts(2, unknown, first[7]).progress.Store(keysExchanged)
		next := c.comes(3, false)
		time.Sleep(3 * time.Second)
		if synctest.Wait(); !next.isIn() || !first[0].wasEvicted() {
			t.Error("one that has exchanged keys stays for ever")
		}
	})
	inLobby(t, func(t *testing.T, c comers) { // those whose logins fail, and never those that have logged in before
		good, other := c.comesWith(1, proven, true), c.comesWith(1, proven, true)
		bad := c.comesWith(2, failing, true)
		for n := range 5 {
			c.comes(100+n, true)
		}
		time.Sleep(time.Second)
		c.comesWith(9, failing, true)
		if !bad.wasEvicted() {
			t.Error("one whose logins fail stays")
		}
		for n := range 6 {
			c.enter(c.visitor(10+n, unknown))
			time.Sleep(time.Second)
		}
		if good.wasEvicted() || other.wasEvicted() {
			t.Error("one that has logged in before made room for a stranger")
		}
		c.comesWith(20, failing, false)
	})
}

func TestQueue(t *testing.T) {
	inLobby(t, func(t *testing.T, c comers) { // is fair to all sources
		c.fill()
		first := c.comes(1, false)
		for range 3 {
			c.comes(1, false)
		}
		c.comes(2, false)
		c.comes(2, false)
		c.evicts(3, unknown, first)
		// Three, two, one: evicting one would not be fairer.
		c.isRefused(2, unknown)
		c.isRefused(1, unknown)
		c.isRefused(9, failing)
	})
	inLobby(t, func(t *testing.T, c comers) { // those that have logged in before come first
		c.fill()
		bad := c.comesWith(1, failing, false)
		stranger := c.comes(2, false)
		for n := range 3 {
			c.comes(3+n, false)
		}
		good := c.comesWith(8, proven, false)
		better := c.evicts(9, proven, bad)
		c.leave(c.inside[0])
		if !good.isIn() || better.isIn() {
			t.Error("the first is not one that has logged in before")
		}
		c.leave(c.inside[0])
		c.leave(c.inside[0])
		if !better.isIn() || !stranger.isIn() {
			t.Error("the others do not follow in order")
		}
	})
}

func TestVisitorWaitsForSoLong(t *testing.T) {
	inLobby(t, func(t *testing.T, c comers) {
		ctx, end := context.WithCancelCause(t.Context())
		v := c.visitor(1, unknown)
		begun := time.Now()
		if err := v.await(ctx, time.Second); !errors.Is(err, errNoTurn) || time.Since(begun) != time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
		end(errMadeRoom)
		if err := v.await(ctx, time.Second); !errors.Is(err, errMadeRoom) {
			t.Errorf("one that had to leave: %v", err)
		}
	})
}

// A thousand silent connections a second do not keep out those that have logged in before: these
// go before all that wait, and nobody overtakes them.
func TestLobbyUnderFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := comers{t, newLobby(DefaultLimits())}
		ctx, end := context.WithCancel(t.Context())
		var flood sync.WaitGroup
		flood.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				v := c.visitor(n%100, unknown)
				if c.enter(v) {
					flood.Go(func() {
						defer c.leave(v)
						if v.await(ctx, c.limits.Wait) == nil {
							_ = wait.For(ctx, c.limits.Handshake)
						}
					})
				}
				_ = wait.For(ctx, time.Millisecond)
			}
		})
		_ = wait.For(ctx, 3*time.Second)
		for n := range 6 {
			v, begun := c.visitor(200+n, proven), time.Now()
			if !c.enter(v) {
				t.Error("there is no place even to wait")
				continue
			}
			err := v.await(ctx, c.limits.Wait)
			if took := time.Since(begun); err != nil || took > time.Second/2 {
				t.Errorf("it was let in after %v: %v", took, err)
			}
			c.leave(v)
			_ = wait.For(ctx, 337*time.Millisecond)
		}
		end()
		flood.Wait()
	})
}
