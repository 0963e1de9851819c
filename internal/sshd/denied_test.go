package sshd

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// from connects from 127.0.0.n.
func (h *host) from(t *testing.T, n byte) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, n)}}
	conn, err := dialer.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// failures returns how many failed logins of 127.0.0.n count.
func (h *host) failures(n byte) int {
	h.records.mu.Lock()
	defer h.records.mu.Unlock()
	return h.records.by[sourceOf(netip.AddrFrom4([4]byte{127, 0, 0, n}))].failures
}

// Twenty jobs of one runner may start at the same time.
func TestTwentyLoginsAtOnceFromOneSource(t *testing.T) {
	h := startHost(t, backend{})
	key := newSigner(t)
	begun := time.Now()
	var jobs sync.WaitGroup
	for range 20 {
		jobs.Go(func() {
			err := h.pingFrom(2, key)
			if err != nil && !strings.Contains(err.Error(), "the answer is") {
				t.Error(err)
			}
		})
	}
	jobs.Wait()
	t.Logf("they took %s", time.Since(begun))
}

func TestFailuresSlowTheirSourceDown(t *testing.T) {
	const delay = 300 * time.Millisecond
	known := newSigner(t)
	h := startHost(t, backend{knows: knowing(known)}, func(l *Limits) { l.Failures, l.FirstDelay = 2, delay })
	login := func(from int, key ssh.Signer) (took time.Duration, ok bool) {
		begun := time.Now()
		err := h.pingFrom(from, key)
		return time.Since(begun), !strings.Contains(err.Error(), "unable to authenticate")
	}
	for range 2 {
		login(2, newSigner(t))
	}
	h.log.waitFor(t, "[WARN]", "slowing down a source", "127.0.0.2/32")
	if took, ok := login(2, known); !ok || took < delay {
		t.Errorf("the next login: %v, after %s", ok, took)
	}
	if n := h.failures(2); n != 0 {
		t.Errorf("after a login that worked, %d failures count", n)
	}

	for range 2 {
		login(2, newSigner(t))
	}
	h.Trust([]netip.Prefix{netip.MustParsePrefix("127.0.0.2/31")})
	login(3, newSigner(t))
	if n := h.failures(3); n != 0 {
		t.Errorf("from a trusted network, %d failures count", n)
	}
	if !h.trusts(netip.MustParseAddr("127.0.0.2")) || h.trusts(netip.MustParseAddr("127.0.0.4")) {
		t.Error("a network is trusted that was not named")
	}
}

// What counts as a failure, and what the log says about it.
func TestWhatCountsAsAFailure(t *testing.T) {
	t.Parallel()
	known := newSigner(t)
	agent := []ssh.Signer{}
	for range 7 {
		agent = append(agent, newSigner(t))
	}
	for _, c := range []struct {
		name  string
		do    func(t *testing.T, h *host, conn net.Conn)
		fails bool
		warns string // what the one warning says; empty: there is none
	}{
		{"connects and closes", func(*testing.T, *host, net.Conn) {}, false, ""},
		{"closes after its version", func(_ *testing.T, _ *host, conn net.Conn) {
			_, _ = io.WriteString(conn, "SSH-2.0-scan\r\n")
			_, _ = io.ReadFull(conn, make([]byte, 64)) // the server's version and more
		}, false, ""},
		{"wants only the host's key", func(_ *testing.T, _ *host, conn net.Conn) {
			_, _ = newRawClient(conn)
		}, false, ""},
		{"disconnects", func(_ *testing.T, _ *host, conn net.Conn) {
			c, _ := newRawClient(conn)
			_ = c.send(append([]byte{1, 0, 0, 0, 11}, append(marshalText("bye"), marshalText("")...)...))
			linger(conn)
		}, false, ""},
		{"an agent whose last key is the right one", func(t *testing.T, h *host, conn net.Conn) {
			tryKeys(t, h, conn, append(agent, known)...)
		}, false, ""},
		{"garbage", func(_ *testing.T, _ *host, conn net.Conn) {
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
			linger(conn)
		}, true, ""},
		{"garbage after the version", func(_ *testing.T, _ *host, conn net.Conn) {
			_, _ = io.WriteString(conn, "SSH-1.5-old\r\n"+strings.Repeat("\xff", 100))
			linger(conn)
		}, true, ""},
		{"silence", func(_ *testing.T, _ *host, conn net.Conn) { linger(conn) }, true, ""},
		{"silence after the version", func(_ *testing.T, _ *host, conn net.Conn) {
			_, _ = io.WriteString(conn, "SSH-2.0-x\r\n")
			linger(conn)
		}, true, ""},
		{"unknown keys", func(t *testing.T, h *host, conn net.Conn) {
			tryKeys(t, h, conn, agent...)
		}, true, ssh.FingerprintSHA256(agent[6].PublicKey())},
		{"no key", func(t *testing.T, h *host, conn net.Conn) { tryKeys(t, h, conn) }, true, "user=miek"},
		{"a method with an invalid name", func(_ *testing.T, _ *host, conn net.Conn) {
			c, _ := newRawClient(conn)
			_ = c.send(append([]byte{msgServiceRequest}, marshalText("ssh-userauth")...))
			_, _ = c.read()
			_ = c.send(ssh.Marshal(struct {
				ID                    byte
				User, Service, Method string
			}{msgAuthRequest, strings.Repeat("\x1b[2J\n", 1000), "ssh-connection", strings.Repeat("\n[WARN] forged \x1b", 1000)}))
			_, _ = c.read()
		}, true, `[2J\n`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := startHost(t, backend{knows: knowing(known)}, func(l *Limits) { l.Handshake = time.Second })
			conn := h.from(t, 2)
			c.do(t, h, conn)
			conn.Close()
			_ = h.pingFrom(3, known) // it came later, so the other one has been accepted
			eventually(t, "the connections are gone", h.idle)
			if n := h.failures(2); n > 0 != c.fails {
				t.Errorf("%d failures count", n)
			}
			warnings := 0
			for line := range strings.Lines(h.log.String()) {
				if strings.Contains(line, "\x1b") || len(line) > 5000 {
					t.Errorf("a line of the log is %.100q and has %d bytes", line, len(line))
				}
				if strings.Contains(line, " [WARN] ") && strings.Contains(line, "source=127.0.0.2") {
					warnings++
				}
			}
			if c.warns == "" && warnings > 0 || c.warns != "" && warnings != 1 {
				t.Errorf("%d lines are warnings", warnings)
			}
			if c.warns != "" {
				h.log.waitFor(t, "[WARN]", "refused login", "source=127.0.0.2:", "user=", c.warns)
			}
		})
	}
}

// tryKeys tries to log in on a connection.
func tryKeys(t *testing.T, h *host, conn net.Conn, signers ...ssh.Signer) {
	t.Helper()
	c, channels, requests, err := ssh.NewClientConn(conn, h.addr, &ssh.ClientConfig{
		User: "miek", Auth: []ssh.AuthMethod{ssh.PublicKeys(signers...)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err == nil {
		ssh.NewClient(c, channels, requests).Close()
	}
}

// A crowd of strangers does not fill the log.
func TestFloodsAreLoggedInAFewLines(t *testing.T) {
	h := startHost(t, backend{}, func(l *Limits) { l.LoginsPerSource, l.WaitingPerSource = 1, 0 })
	h.from(t, 2)
	eventually(t, "it is being served", func() bool { return !h.idle() })
	for range 50 {
		ends(t, h.from(t, 2))
	}
	if n := strings.Count(h.log.String(), "refused connection: too many are logging in"); n != rationLines {
		t.Errorf("fifty refusals have %d lines in the log", n)
	}
}

func TestRefusedSessionsAreTwoLines(t *testing.T) {
	h := startHost(t, backend{run: func(ctx context.Context, _ Command) Exit {
		<-ctx.Done()
		return Exit{}
	}}, func(l *Limits) { l.SessionsPerKey = 1 })
	client := h.mustDial(t)
	if err := newSession(t, client).Start("pgo//ping"); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if _, err := client.NewSession(); err == nil {
			t.Fatal("a second session was opened")
		}
	}
	client.Close()
	h.log.waitFor(t, "refused more sessions", "sessions=49")
	if n := strings.Count(h.log.String(), "refused session:"); n != 1 {
		t.Errorf("fifty refusals have %d lines and the summary in the log", n)
	}
}
