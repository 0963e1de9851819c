package sshd

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestSourceOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1":               "192.0.2.7/32",
		"[::ffff:192.0.2.7]:1":      "192.0.2.7/32",
		"[2001:db8:1:2:3:4:5:6]:99": "2001:db8:1:2::/64",
		"[fe80::1%1]:99":            "fe80::/64",
	} {
		addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(remote))
		if got := sourceOf(addressOf(addr)); got != netip.MustParsePrefix(want) {
			t.Errorf("the source of %s: %s, want %s", remote, got, want)
		}
	}
	if got := sourceOf(addressOf(&net.UnixAddr{})); got != (netip.Prefix{}) {
		t.Errorf("the source of a socket is %s", got)
	}
}

func TestIdleTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fired atomic.Bool
		timer := newIdleTimer(time.Minute, func() { fired.Store(true) })
		timer.begin()
		timer.begin()
		timer.end()
		time.Sleep(time.Hour)
		if synctest.Wait(); fired.Load() {
			t.Error("it fired while something was running")
		}
		timer.end()
		time.Sleep(time.Minute - time.Second)
		if synctest.Wait(); fired.Load() {
			t.Error("it fired too early")
		}
		time.Sleep(time.Second)
		if synctest.Wait(); !fired.Load() {
			t.Error("it did not fire")
		}
	})
}
