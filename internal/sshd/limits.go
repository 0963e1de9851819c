package sshd

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound what clients can use up.
type Limits struct {
	Handshake        time.Duration // for key exchange and authentication together
	LoginBytes       int           // that a client may send before it has logged in
	Tries            int           // keys that may be refused before the connection is closed
	Logins           int           // connections that have not authenticated yet
	LoginsPerSource  int           // those of one IPv4 address or IPv6 /64
	Stay             time.Duration // how long each of them has before it may have to make room
	Waiting          int           // connections that wait to become one of these
	WaitingPerSource int
	Wait             time.Duration // how long one of them may wait
	Failures         int           // logins in a row that may fail before their source is slowed down
	FirstDelay       time.Duration // before the next login; each failure doubles it
	LastDelay        time.Duration // the maximum of this delay
	Forget           time.Duration // the time after which one failure of a source is forgotten

	Sessions            int // connections, and channels, that have authenticated
	SessionsPerKey      int
	SessionsPerService  int           // with keys of one service, however many there are
	SessionsOfOperators int           // those of Sessions that only operators get
	Idle                time.Duration // how long a connection may stay without running a command
	Requests            int           // of all kinds, on one connection, per second
	Keepalive           time.Duration // between two requests to see if the client is still there
	KeepaliveMisses     int           // so many times Keepalive without an answer: it is gone
	Line                int           // bytes of a command
}

// DefaultLimits returns the limits in the manual.
func DefaultLimits() Limits {
	return Limits{
		Handshake:        20 * time.Second,
		LoginBytes:       64 << 10,
		Tries:            10,
		Logins:           64,
		LoginsPerSource:  8,
		Stay:             250 * time.Millisecond,
		Waiting:          256,
		WaitingPerSource: 32,
		Wait:             5 * time.Second,
		Failures:         5,
		FirstDelay:       100 * time.Millisecond,
		LastDelay:        10 * time.Second,
		Forget:           time.Minute,

		Sessions:            256,
		SessionsPerKey:      16,
		SessionsPerService:  64,
		SessionsOfOperators: 16,
		Idle:                60 * time.Second,
		Requests:            500,
		Keepalive:           15 * time.Second,
		KeepaliveMisses:     3,
		Line:                64 << 10,
	}
}

// newPace limits the rate of a client's requests: answers cost more than questions.
func newPace(l Limits) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(l.Requests), l.Requests)
}

// addressOf returns the address of a client, the zero value if it has none.
func addressOf(remote net.Addr) netip.Addr {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// sourceOf returns what one client is likely to own: an IPv4 address, or an IPv6 /64.
// Addresses that are neither count as one source.
func sourceOf(ip netip.Addr) netip.Prefix {
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	source, _ := ip.Prefix(bits) // fails only for an address of neither family
	return source
}

// idleTimer calls a function when nothing has been running for a time.
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
