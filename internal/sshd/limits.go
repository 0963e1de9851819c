package sshd

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits bound what clients can use up.
type Limits struct {
	Handshake       time.Duration // for key exchange and authentication together
	Tries           int           // keys that may be refused before the connection is closed
	Logins          int           // connections that have not authenticated yet
	LoginsPerSource int           // of these, from one IPv4 address or IPv6 /64
	Sessions        int           // connections, and channels, that have
	SessionsPerKey  int
	Idle            time.Duration // how long a connection may stay without running a command
	Keepalive       time.Duration // between two questions whether the client is still there
	KeepaliveMisses int           // unanswered for so many times Keepalive, it is not
	Line            int           // bytes of a command
}

// DefaultLimits are those of the manual.
func DefaultLimits() Limits {
	return Limits{
		Handshake:       20 * time.Second,
		Tries:           10,
		Logins:          64,
		LoginsPerSource: 8,
		Sessions:        256,
		SessionsPerKey:  16,
		Idle:            60 * time.Second,
		Keepalive:       15 * time.Second,
		KeepaliveMisses: 3,
		Line:            64 << 10,
	}
}

// quota counts what is in use, in all and by each user of it.
type quota[K comparable] struct {
	all, each int // set by newQuota, then immutable

	mu   sync.Mutex // guards what follows
	used int
	by   map[K]int
}

func newQuota[K comparable](all, each int) *quota[K] {
	return &quota[K]{all: all, each: each, by: map[K]int{}}
}

// take reports whether user may have one more. If so, it is given back with release.
func (q *quota[K]) take(user K) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.used >= q.all || q.by[user] >= q.each {
		return false
	}
	q.used++
	q.by[user]++
	return true
}

func (q *quota[K]) release(user K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used--
	if q.by[user]--; q.by[user] == 0 {
		delete(q.by, user)
	}
}

// sourceOf returns what one client is likely to own: an IPv4 address, or an IPv6 /64.
// Addresses that are neither count as one source.
func sourceOf(remote net.Addr) netip.Prefix {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	source, _ := ip.Prefix(bits) // fails for an address of neither family only
	return source
}

// idleTimer calls a function after a time in which nothing was running.
type idleTimer struct {
	after time.Duration
	timer *time.Timer

	mu      sync.Mutex // guards running
	running int
}

func newIdleTimer(after time.Duration, f func()) *idleTimer {
	return &idleTimer{after: after, timer: time.AfterFunc(after, f)}
}

func (t *idleTimer) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running++
	t.timer.Stop()
}

func (t *idleTimer) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running--; t.running == 0 {
		t.timer.Reset(t.after)
	}
}
