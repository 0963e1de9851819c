package sshd

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"pgo/internal/target"
	"pgo/internal/wait"
)

// Each of these attacks by strangers continues, from one address or from a hundred, while others
// have to get their answers.
func TestAbuseByStrangers(t *testing.T) {
	const some, many = 10, 100 // attackers
	write := func(packets ...[]byte) func(s *siege, from int) {
		return func(s *siege, from int) {
			if conn := s.dial(from); conn != nil {
				for _, packet := range packets {
					_, _ = conn.Write(packet)
				}
				s.may()
				linger(conn)
			}
		}
	}
	for _, c := range []struct {
		name      string
		attackers int
		addresses int
		often     int64
		part      func(s *siege, from int)
	}{
		{"half-open, from one address", many, 1, 2000, write()},
		{"half-open", many, many, 500, write()},
		{"a version and no more", many, many, 300, write([]byte("SSH-2.0-x\r\n"))},
		{"a byte at a time", many, many, 1000, trickle},
		{"connect and close", some, some, 500, func(s *siege, from int) {
			if conn := s.dial(from); conn != nil {
				conn.Close()
				s.may()
			}
		}},
		{"garbage before the banner", some, some, 400, write(bytes.Repeat([]byte("\x00\xff\n"), 1000))},
		{"HTTP", some, some, 400, write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))},
		{"a packet of 2 GiB", some, some, 300, write([]byte("SSH-2.0-x\r\n\x7f\xff\xff\xff"), make([]byte, 64<<10))},
		{"key exchanges", some, some, 50, exchange},
		{"an unknown service, and more", some, some, 50, behind(false)},
		{"an invalid login, and more", some, some, 50, behind(true)},
		{"RSA keys of 16 kbit, from one address", some, 1, 20, oversized},
		{"RSA keys of 16 kbit", some, some, 20, oversized},
		{"unknown keys, from one address", some, 1, 50, tryUnknown},
		{"unknown keys", some, some, 50, tryUnknown},
		{"a long login", some, some, 50, verbose},
	} {
		t.Run(c.name, func(t *testing.T) {
			underAttack(t, c.often, func(s *siege) {
				s.soldiers(c.attackers, func(soldier int) { c.part(s, soldier%c.addresses) })
			}, func(l *Limits) { l.FirstDelay, l.LastDelay = time.Millisecond, 4*time.Millisecond })
		})
	}
}

// trickle sends what begins well, one byte at a time.
func trickle(s *siege, from int) {
	conn := s.dial(from)
	if conn == nil {
		return
	}
	defer conn.Close()
	for _, b := range append([]byte("SSH-2.0-x\r\n"), kexInit()...) {
		s.done.Add(1)
		if _, err := conn.Write([]byte{b}); err != nil {
			return
		}
		_ = wait.For(s.ctx, 50*time.Millisecond)
	}
}

// exchange exchanges keys again and again, and never logs in.
func exchange(s *siege, from int) {
	c := s.raw(from, nil)
	if c == nil {
		return
	}
	defer c.conn.Close()
	_ = c.send(slices.Concat([]byte{msgServiceRequest}, marshalText("ssh-userauth")))
	_, _ = c.read()
	for c.exchangeKeys() == nil {
		s.done.Add(1)
	}
}

// behind sends more after a packet that ends the connection than is read ahead.
func behind(service bool) func(s *siege, from int) {
	return func(s *siege, from int) {
		c := s.raw(from, nil)
		if c == nil {
			return
		}
		if service {
			_ = c.send(slices.Concat([]byte{msgServiceRequest}, marshalText("ssh-userauth")))
		}
		for range 100 {
			_ = c.send([]byte{msgAuthRequest, 1})
		}
		s.done.Add(1)
		linger(c.conn)
	}
}

// oversized has the host check a signature with a key of 16 kbit.
func oversized(s *siege, from int) {
	if c := s.raw(from, nil); c != nil {
		_ = c.login(forged{hugeSigner(s.T)})
		s.done.Add(1)
		c.conn.Close()
	}
}

// forged signs with noise.
type forged struct{ ssh.Signer }

func (f forged) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	noise := make([]byte, 2048)
	_, err := rand.Read(noise[1:])
	return &ssh.Signature{Format: ssh.KeyAlgoRSASHA512, Blob: noise}, err
}

func tryUnknown(s *siege, from int) {
	if c := s.raw(from, newSigner(s.T)); c != nil {
		s.Error("a stranger is logged in")
	}
	s.done.Add(1)
}

// verbose sends packets that are as long as they may be.
func verbose(s *siege, from int) {
	c := s.raw(from, nil)
	if c == nil {
		return
	}
	defer c.conn.Close()
	_ = c.send(slices.Concat([]byte{msgServiceRequest}, marshalText("ssh-userauth")))
	for {
		request := struct {
			ID                    byte
			User, Service, Method string
		}{msgAuthRequest, string(make([]byte, 100<<10)), "ssh-connection", "none"}
		if s.may(); c.send(ssh.Marshal(request)) != nil {
			return
		}
	}
}

// What those do who have keys of a service.
func TestAbuseByPeople(t *testing.T) {
	for _, c := range []struct {
		name     string
		soldiers int
		often    int64
		part     func(s *siege, soldier int)
	}{
		{"connections", 100, 100, func(s *siege, n int) {
			if c := s.raw(n, s.key(n)); c != nil {
				s.done.Add(1)
				if c.openChannel(0) == nil {
					linger(c.conn)
				}
			}
		}},
		{"channels that are left open", 10, 3000, func(s *siege, n int) {
			c := s.raw(n, s.key(n))
			for i := uint32(0); c != nil && s.may() && c.openChannel(i) == nil; i++ {
			}
		}},
		{"channels that are opened and closed", 10, 2000, openAndClose},
		{"output that nobody reads", 10, 500, func(s *siege, n int) {
			c := s.raw(n, s.key(n))
			for i := uint32(0); c != nil && s.may() && c.openChannel(i) == nil; i++ {
				_ = c.request(i, "exec", true, marshalText("evil//logs -f"))
			}
		}},
		{"commands that are too long", 10, 200, tooLong},
		{"a packet that ends all, and more", 10, 100, func(s *siege, n int) {
			if c := s.raw(n, s.key(n)); c != nil {
				for range 100 {
					_ = c.send([]byte{msgChannelRequest, 0, 0, 0, 99})
				}
				s.done.Add(1)
				linger(c.conn)
			}
		}},
		{"global requests", 10, 5000, func(s *siege, n int) {
			c := s.raw(n, s.key(n))
			for c != nil && s.may() && c.send(ssh.Marshal(struct {
				ID        byte
				Kind      string
				WantReply bool
			}{msgGlobalRequest, "tcpip-forward", true})) == nil {
			}
		}},
		{"requests before a command", 10, 5000, func(s *siege, n int) { ask(s, n, "") }},
		{"requests during a command", 10, 5000, func(s *siege, n int) { ask(s, n, "evil//logs -f") }},
		{"key exchanges", 10, 200, func(s *siege, n int) {
			if c := s.raw(n, s.key(n)); c != nil {
				for c.exchangeKeys() == nil {
					s.done.Add(1)
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			underAttack(t, c.often, func(s *siege) {
				s.soldiers(c.soldiers, func(soldier int) { c.part(s, soldier) })
			})
		})
	}
}

func openAndClose(s *siege, n int) {
	c := s.client(n)
	for c != nil {
		channel, _, err := c.OpenChannel("session", nil)
		switch refused := new(ssh.OpenChannelError); {
		case err == nil:
			_ = channel.Close()
		case !errors.As(err, &refused):
			c.Close()
			return
		}
		s.done.Add(1)
	}
}

func tooLong(s *siege, n int) {
	c := s.client(n)
	for c != nil {
		session, err := c.NewSession()
		if err == nil {
			err = session.Run("evil//ping " + strings.Repeat("x", 64<<10))
		}
		refused, exit := new(ssh.OpenChannelError), new(ssh.ExitError)
		switch {
		case errors.As(err, &exit) && exit.ExitStatus() == target.StatusUsage || errors.As(err, &refused):
			s.done.Add(1)
		case s.ctx.Err() == nil:
			s.Errorf("too long a command: %v", err)
			fallthrough
		default:
			c.Close()
			return
		}
	}
}

// ask sends whatever can be asked of a channel, and reads no answer.
func ask(s *siege, n int, command string) {
	c := s.raw(n, s.key(n))
	if c == nil || c.openChannel(0) != nil {
		return
	}
	if command != "" && c.request(0, "exec", false, marshalText(command)) != nil {
		return
	}
	noise := make([]byte, 100)
	_, _ = rand.Read(noise)
	for i := 0; ; i++ {
		for kind, payload := range map[string][]byte{
			"window-change": noise[:16],
			"pty-req":       slices.Concat(marshalText("xterm"), noise[:16], marshalText("")),
			"env":           slices.Concat(marshalText("PGO_COLOR"), marshalText("always")),
			"signal":        marshalText("USR1"),
			"subsystem":     marshalText("sftp"),
			"noise":         noise,
		} {
			if !s.may() || c.request(0, kind, i%2 == 0, payload) != nil {
				return
			}
		}
	}
}

// text is a string as it is on the wire.
func marshalText(s string) []byte { return ssh.Marshal(struct{ S string }{s}) }
