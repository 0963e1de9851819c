package sshd

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"pgo/internal/printable"
)

const tooMany = "too many sessions are open with this key or in all; try again when some have ended"

// connection is one client that has logged in.
type connection struct {
	server   *Server
	ssh      *ssh.ServerConn
	identity Identity
	log      hclog.Logger // says who, in every line
	idle     *idleTimer
}

// handle serves a connection from the first byte to the last.
func (s *Server) handle(ctx context.Context, conn net.Conn, source netip.Prefix) {
	loggedIn := sync.OnceFunc(func() { s.logins.release(source) })
	defer loggedIn()
	sc, channels, requests, err := s.login(ctx, conn)
	if err != nil {
		return
	}
	identity := sc.Permissions.ExtraData[identityKey{}].(Identity)
	c := &connection{
		server:   s,
		ssh:      sc,
		identity: identity,
		log:      s.log.With("source", identity.Remote, "user", printable.Line(identity.User), "fingerprint", identity.Fingerprint),
	}
	if !s.connections.take(identity.Fingerprint) {
		c.log.Warn("refused connection: too many are open")
		_ = conn.SetDeadline(time.Now().Add(s.limits.Handshake))
		refuseChannels(channels, requests)
		return
	}
	defer s.connections.release(identity.Fingerprint)
	loggedIn()
	c.idle = newIdleTimer(s.limits.Idle, func() {
		c.log.Debug("closing a connection that runs nothing")
		sc.Close()
	})
	defer c.idle.timer.Stop()
	c.serve(ctx, channels, requests)
}

// refuseChannels tells a client why it cannot do anything, until it leaves.
func refuseChannels(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	go ssh.DiscardRequests(requests)
	for asked := range channels {
		_ = asked.Reject(ssh.ResourceShortage, tooMany)
	}
}

// serve returns when the client is gone and nothing of it runs any more.
func (c *connection) serve(ctx context.Context, channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { answerGlobal(requests) })
	running.Go(func() { c.keepalive(ctx) })
	for asked := range channels {
		if serve := c.open(ctx, asked); serve != nil {
			running.Go(serve)
		}
	}
	cancel()
	running.Wait()
}

// open accepts a channel if it is of the kind that carries commands, and returns what serves
// it then. A client that opens many and reads no answers holds up nobody but itself.
func (c *connection) open(ctx context.Context, asked ssh.NewChannel) func() {
	if asked.ChannelType() != "session" {
		_ = asked.Reject(ssh.Prohibited, "pgo runs commands and forwards nothing")
		return nil
	}
	if !c.server.sessions.take(c.identity.Fingerprint) {
		c.log.Warn("refused session: too many are open")
		_ = asked.Reject(ssh.ResourceShortage, tooMany)
		return nil
	}
	channel, requests, err := asked.Accept()
	if err != nil { // the client is gone already
		c.server.sessions.release(c.identity.Fingerprint)
		return nil
	}
	return func() {
		defer c.server.sessions.release(c.identity.Fingerprint)
		c.session(ctx, channel, requests)
	}
}

// answerGlobal refuses what a client asks of the connection as a whole: forwarding.
func answerGlobal(requests <-chan *ssh.Request) {
	for r := range requests {
		_ = r.Reply(r.Type == "keepalive@openssh.com", nil)
	}
}

// keepalive ends the connection when the client does not answer any more.
func (c *connection) keepalive(ctx context.Context) {
	patience := c.server.limits.Keepalive * time.Duration(c.server.limits.KeepaliveMisses)
	gone := time.AfterFunc(patience, func() {
		c.log.Info("closing a connection that does not answer")
		c.ssh.Close()
	})
	gone.Stop()
	ticker := time.NewTicker(c.server.limits.Keepalive)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		gone.Reset(patience)
		_, _, err := c.ssh.SendRequest("keepalive@openssh.com", true, nil)
		gone.Stop()
		if err != nil {
			return
		}
	}
}
