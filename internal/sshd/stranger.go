package sshd

import (
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

// strangerConn is the connection of a client that may not have logged in yet. Until then it
// reads no more than a login takes: a client could fill queues, or exchange keys again and
// again. It ends at once a connection that is none of SSH's.
type strangerConn struct {
	net.Conn
	visitor *visitor
	most    int // bytes before the login

	loggedIn atomic.Bool
	read     int // bytes; used by one reader at a time, and not any more after the login
}

func (c *strangerConn) Read(p []byte) (int, error) {
	if c.loggedIn.Load() {
		return c.Conn.Read(p)
	}
	if c.read >= c.most {
		return 0, errTooMuch
	}
	n, err := c.Conn.Read(p[:min(len(p), c.most-c.read)])
	for _, b := range p[:n] {
		if c.read < len(banner) && b != banner[c.read] {
			return 0, errNoSSH
		}
		c.read++
	}
	if n > 0 {
		c.visitor.spoke.Store(true)
	}
	return n, err
}
