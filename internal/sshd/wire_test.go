package sshd

import (
	"context"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"pgo/internal/target"
)

// recorder is a channel that records what is sent on it.
type recorder struct {
	ssh.Channel // nil: methods that are not defined below are not expected
	sent        []string
	closed      chan struct{}
}

func newRecorder() *recorder { return &recorder{closed: make(chan struct{})} }

func (r *recorder) note(what string) {
	if len(r.sent) < 100 {
		r.sent = append(r.sent, what)
	}
}

func (r *recorder) Read([]byte) (int, error)    { return 0, io.EOF }
func (r *recorder) Stderr() io.ReadWriter       { return stderrRecorder{r} }
func (r *recorder) Write(p []byte) (int, error) { r.note("stdout " + string(p)); return len(p), nil }
func (r *recorder) CloseWrite() error           { r.note("EOF"); return nil }
func (r *recorder) Close() error                { r.note("close"); close(r.closed); return nil }

func (r *recorder) SendRequest(name string, wantReply bool, payload []byte) (bool, error) {
	if wantReply {
		r.note("wants a reply")
	}
	r.note(name + " " + string(payload))
	return false, nil
}

type stderrRecorder struct{ *recorder }

func (r stderrRecorder) Write(p []byte) (int, error) {
	r.note("stderr " + string(p))
	return len(p), nil
}

// requestsOf returns the requests of one session, after which the client closes the channel.
func requestsOf(rs ...ssh.Request) <-chan *ssh.Request {
	c := make(chan *ssh.Request, len(rs))
	for _, r := range rs {
		c <- &r
	}
	close(c)
	return c
}

func stringRequest(kind, value string) ssh.Request {
	return ssh.Request{Type: kind, Payload: ssh.Marshal(struct{ S string }{value})}
}

// testConnection returns a connection for sessions, without a network.
func testConnection(t testing.TB, b Backend) *connection {
	t.Helper()
	s := New(Options{Backend: b, Logger: hclog.NewNullLogger()})
	c := &connection{server: s, log: s.log, identity: Identity{User: "miek", Remote: &net.TCPAddr{}}, pace: newPace(s.limits)}
	c.idle = newIdleTimer(s.limits.Idle, func() {})
	t.Cleanup(func() { c.idle.timer.Stop() })
	return c
}

// Real clients depend on this order: all output, the status, end of file, close.
func TestOrderOnTheWire(t *testing.T) {
	for _, c := range []struct {
		name     string
		requests []ssh.Request
		exit     Exit
		want     []string
	}{
		{
			"a status", []ssh.Request{stringRequest("exec", "pgo//ps")}, Exit{Status: 1},
			[]string{"stdout out", "stderr err", "exit-status \x00\x00\x00\x01", "EOF", "close"},
		},
		{
			"a status with a message", []ssh.Request{stringRequest("exec", "pgo//ps")}, Exit{Status: target.StatusUnauthorized, Message: "no"},
			[]string{"stdout out", "stderr err", "stderr no\n", "exit-status \x00\x00\x01\x91", "EOF", "close"},
		},
		{
			"a signal", []ssh.Request{stringRequest("exec", "pgo//ps"), stringRequest("signal", "INT")}, Exit{Status: 1},
			[]string{"stdout out", "stderr err", "exit-signal \x00\x00\x00\x03INT\x00\x00\x00\x00\x00\x00\x00\x00\x00", "EOF", "close"},
		},
		{
			"a shell", []ssh.Request{{Type: "shell"}}, Exit{},
			[]string{"stderr " + noShell + "\n", "exit-status \x00\x00\x01\x90", "EOF", "close"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			channel := newRecorder()
			proceed := make(chan struct{})
			conn := testConnection(t, backend{run: func(_ context.Context, s Command) Exit {
				<-proceed // when all requests have been answered
				fmt.Fprint(s.Stdout, "out")
				fmt.Fprint(s.Stderr, "err")
				return c.exit
			}})
			from := make(chan *ssh.Request)
			served := make(chan struct{})
			go func() { conn.session(context.Background(), channel, from); close(served) }()
			for _, r := range c.requests {
				from <- &r
			}
			from <- &ssh.Request{Type: "answered-after-the-others"}
			close(proceed)
			receive(t, "the channel is closed", channel.closed)
			close(from)
			receive(t, "the session ends", served)
			if !reflect.DeepEqual(channel.sent, c.want) {
				t.Errorf("sent   %q\nexpect %q", channel.sent, c.want)
			}
		})
	}
}

func FuzzSessionRequests(f *testing.F) {
	exec := ssh.Marshal(struct{ S string }{"pgo//logs -f 'a b'"})
	f.Add("exec", exec, "signal", ssh.Marshal(struct{ S string }{"TERM"}))
	f.Add("shell", []byte{}, "exec", exec)
	f.Add("exec", []byte{0xff, 0xff, 0xff, 0xff}, "exec", exec[:6])
	f.Add("pty-req", append([]byte{0, 0, 0, 1}, exec...), "window-change", []byte{0})
	f.Fuzz(func(t *testing.T, kind1 string, payload1 []byte, kind2 string, payload2 []byte) {
		commands := 0
		conn := testConnection(t, backend{run: func(context.Context, Command) Exit {
			commands++
			return Exit{}
		}})
		channel := newRecorder()
		conn.session(context.Background(), channel, requestsOf(ssh.Request{Type: kind1, Payload: payload1}, ssh.Request{Type: kind2, Payload: payload2}))
		if commands > 1 {
			t.Error("one session ran two commands")
		}
		// Either nothing was started, or it was ended as it should be.
		if n := len(channel.sent); n > 0 && !(n >= 3 && strings.HasPrefix(channel.sent[n-3], "exit-s") && channel.sent[n-2] == "EOF" && channel.sent[n-1] == "close") {
			t.Errorf("sent %q", channel.sent)
		}
	})
}

// dialRaw logs in as ssh.Dial does, but answers nothing that the server asks.
func dialRaw(t *testing.T, h *host) (ssh.Conn, net.Conn) {
	t.Helper()
	raw, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	conn, _, _, err := ssh.NewClientConn(raw, h.addr, &ssh.ClientConfig{
		User: "miek", Auth: []ssh.AuthMethod{ssh.PublicKeys(newSigner(t))}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn, raw
}

type nopListener struct{ net.Listener }

func (nopListener) Close() error { return nil }
