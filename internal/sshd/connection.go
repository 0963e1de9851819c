package sshd

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"
	"golang.org/x/time/rate"

	"pgo/internal/printable"
)

const tooMany = "too many sessions are open with this key, for its service or in total; try again when some have ended"

// connection is one client that has logged in.
type connection struct {
	server   *Server
	ssh      *ssh.ServerConn
	identity Identity
	party    Party
	log      hclog.Logger // says who, in every line
	idle     *idleTimer
	pace     *rate.Limiter // of the client's requests
	refused  int           // sessions
}

// handle serves a connection from the first byte to the last.
func (s *Server) handle(ctx context.Context, v *visitor) {
	sc, channels, requests, ok := s.admit(ctx, v)
	if !ok {
		return
	}
	defer drain(sc.Conn)
	defer sc.Close()
	identity := sc.Permissions.ExtraData[identityKey{}].(Identity)
	c := &connection{
		server:   s,
		ssh:      sc,
		identity: identity,
		party:    sc.Permissions.ExtraData[partyKey{}].(Party),
		log:      s.log.With("source", identity.Remote, "user", printable.Line(identity.User), "fingerprint", identity.Fingerprint),
		pace:     newPace(s.limits),
	}
	release := s.connections.take(c.party, identity.Fingerprint)
	if release == nil {
		c.logOverdraft()
		s.lobby.spare(v)
		_ = v.conn.SetDeadline(time.Now().Add(s.limits.Handshake))
		c.refuseChannels(channels, requests)
		return
	}
	defer release()
	s.lobby.leave(v)
	c.idle = newIdleTimer(s.limits.Idle, func() {
		c.log.Debug("closing an idle connection")
		sc.Close()
	})
	defer c.idle.timer.Stop()
	c.serve(ctx, channels, requests)
}

func (c *connection) logOverdraft() {
	s := c.server
	if s.overdrafts.allows(func(n int) { s.log.Warn("refused more connections: too many are open", "connections", n) }) {
		c.log.Warn("refused connection: too many are open")
	}
}

// refuseChannels refuses all that the client asks for and says why, until the client leaves.
func (c *connection) refuseChannels(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	go c.answerGlobal(requests)
	for asked := range channels {
		c.paced()
		_ = asked.Reject(ssh.ResourceShortage, tooMany)
	}
}

// serve returns when the client is gone and nothing of it is running.
func (c *connection) serve(ctx context.Context, channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { c.answerGlobal(requests) })
	running.Go(func() { c.keepalive(ctx) })
	for asked := range channels {
		c.paced()
		if serve := c.open(ctx, asked); serve != nil {
			running.Go(serve)
		}
	}
	cancel()
	running.Wait()
	if c.refused > 1 {
		c.log.Warn("refused more sessions: too many were open", "sessions", c.refused-1)
	}
}

// open accepts a channel if it is of the kind that carries commands, and returns the function
// that serves it. A client that opens many and reads no answers delays only itself.
func (c *connection) open(ctx context.Context, asked ssh.NewChannel) func() {
	if asked.ChannelType() != "session" {
		_ = asked.Reject(ssh.Prohibited, "pgo runs commands and forwards nothing")
		return nil
	}
	release := c.server.sessions.take(c.party, c.identity.Fingerprint)
	if release == nil {
		if c.refused++; c.refused == 1 { // serve logs how many followed
			c.log.Warn("refused session: too many are open")
		}
		_ = asked.Reject(ssh.ResourceShortage, tooMany)
		return nil
	}
	channel, requests, err := asked.Accept()
	if err != nil { // the client is gone already
		release()
		return nil
	}
	return func() {
		defer release()
		defer c.server.contain("a session")
		c.session(ctx, channel, requests)
	}
}

// paced waits until the client may have another answer.
func (c *connection) paced() { time.Sleep(c.pace.Reserve().Delay()) }

// answerGlobal refuses requests for the connection as a whole: forwarding.
func (c *connection) answerGlobal(requests <-chan *ssh.Request) {
	for r := range requests {
		c.paced()
		_ = r.Reply(r.Type == "keepalive@openssh.com", nil)
	}
}

// keepalive ends the connection when the client no longer answers.
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
