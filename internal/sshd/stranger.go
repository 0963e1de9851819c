package sshd

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
)

var (
	errNoSSH   = errors.New("the client does not speak SSH")
	errTooMuch = errors.New("the client sends too much for a login")
)

// banner is what a client begins with, RFC 4253 section 4.2.
const banner = "SSH-"

// What the server writes to a client, packet by packet: its version, its algorithms and its part
// of the key exchange before the client can begin to encrypt; then an answer to each key that the
// client tries, and a few more. Each further key exchange, which is expensive, takes three.
const (
	keysSent  = 3
	maxWrites = 32
)

// maxUnread bounds what is read from then on until a client may try to log in: a packet or two of
// a hundred bytes. Until then, more than sixteen of the smallest cannot be drained.
const maxUnread = 512

// strangerConn is the connection of a client that may not have logged in yet. Until then it reads
// no more than a login takes: otherwise a client could fill queues, or exchange keys again and
// again. It ends a connection that does not speak SSH at once.
type strangerConn struct {
	net.Conn
	visitor *visitor
	ctx     context.Context // ends with the login
	most    int             // bytes before the login
	begun   chan struct{}   // closed when the client may try to log in

	loggedIn atomic.Bool
	writes   atomic.Int32
	read     int // bytes; one reader at a time uses this and unread, and only before the login
	unread   int // bytes read between keysSent and begun
}

func (c *strangerConn) Write(p []byte) (int, error) {
	if c.writes.Add(1) > maxWrites && !c.loggedIn.Load() {
		return 0, errTooMuch
	}
	return c.Conn.Write(p)
}

func (c *strangerConn) Read(p []byte) (int, error) {
	if c.loggedIn.Load() {
		return c.Conn.Read(p)
	}
	left := c.most - c.read
	early := c.writes.Load() >= keysSent && !c.hasBegun()
	if early && c.unread >= maxUnread {
		select { // the client may know of it before this side does
		case <-c.begun:
			early = false
		case <-c.ctx.Done():
			return 0, errTooMuch
		}
	}
	if early {
		left = min(left, maxUnread-c.unread)
	}
	if left <= 0 {
		return 0, errTooMuch
	}
	n, err := c.Conn.Read(p[:min(len(p), left)])
	if early {
		c.unread += n
	}
	return c.check(p[:n], err)
}

// check checks what was read.
func (c *strangerConn) check(p []byte, err error) (int, error) {
	for _, b := range p {
		if c.read < len(banner) && b != banner[c.read] {
			return 0, errNoSSH
		}
		c.read++
	}
	if len(p) > 0 {
		c.visitor.progress.CompareAndSwap(silent, speaking)
	}
	return len(p), err
}

func (c *strangerConn) hasBegun() bool {
	select {
	case <-c.begun:
		return true
	default:
		return false
	}
}
