package sshd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"pgo/internal/target"
)

func TestCommand(t *testing.T) {
	ran := make(chan target.Command, 1)
	h := startHost(t, backend{run: func(_ context.Context, s Command) Exit {
		ran <- s.Command
		fmt.Fprint(s.Stdout, "out")
		fmt.Fprint(s.Stderr, "err\n")
		return Exit{Status: target.StatusConflict, Message: "the service is frozen"}
	}})
	client := h.mustDial(t)
	want := target.Command{Service: "pgo", Operation: "git pull", Args: []string{"a b", "$HOME", ""}}
	r := run(t, client, want.Line())
	if r.stdout != "out" || r.stderr != "err\nthe service is frozen\n" || r.status(t) != target.StatusConflict {
		t.Errorf("it left %+v", r)
	}
	if got := receive(t, "the command runs", ran); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v arrived as %+v", want, got)
	}
	// One connection may run several.
	if r := run(t, client, "pgo//ping"); r.status(t) != target.StatusConflict {
		t.Errorf("a second command left %+v", r)
	}
}

func TestAllOutputArrives(t *testing.T) {
	const size = 10 << 20 // several windows of the channel
	h := startHost(t, backend{run: func(_ context.Context, s Command) Exit {
		var writing sync.WaitGroup
		for _, w := range []io.Writer{s.Stdout, s.Stderr} {
			writing.Go(func() {
				chunk := bytes.Repeat([]byte("x"), 100_000)
				for left := size; left > 0; left -= len(chunk) {
					chunk = chunk[:min(left, len(chunk))]
					if _, err := w.Write(chunk); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writing.Wait()
		return Exit{Status: 3}
	}})
	if r := run(t, h.mustDial(t), "pgo//logs"); len(r.stdout) != size || len(r.stderr) != size || r.status(t) != 3 {
		t.Errorf("%d and %d bytes have arrived, %v", len(r.stdout), len(r.stderr), r.err)
	}
}

func TestCommandsThatAreNone(t *testing.T) {
	h := startHost(t, backend{run: func(context.Context, Command) Exit {
		t.Error("the backend was asked")
		return Exit{}
	}})
	client := h.mustDial(t)
	for line, says := range map[string]string{
		"pgo//pss": "did you mean ps?",
		"id":       "write service//operation",
		"":         "no command",
		"pgo//ps " + strings.Repeat("a ", 32<<10): "the command is longer than 64 KiB",
	} {
		r := run(t, client, line)
		if r.status(t) != target.StatusUsage || !strings.Contains(r.stderr, says) || r.stdout != "" {
			t.Errorf("%.20q left %+v", line, r)
		}
	}
}

func TestSessionHasNothingButCommands(t *testing.T) {
	block := make(chan struct{})
	h := startHost(t, backend{run: func(context.Context, Command) Exit {
		<-block
		return Exit{}
	}})
	client := h.mustDial(t)

	session := newSession(t, client)
	for name, request := range map[string]func() error{
		"env":       func() error { return session.Setenv("LD_PRELOAD", "x") },
		"subsystem": func() error { return session.RequestSubsystem("sftp") },
	} {
		if err := request(); err == nil {
			t.Errorf("the server grants %s", name)
		}
	}
	for _, name := range []string{"auth-agent-req@openssh.com", "x11-req", "pty-req", "window-change", "signal", "break"} {
		if ok, err := session.SendRequest(name, true, ssh.Marshal(struct{ S string }{"INT"})); ok || err != nil {
			t.Errorf("the server grants %s, %v", name, err)
		}
	}
	if err := session.Start("pgo//ping"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"exec", "shell"} {
		if ok, err := session.SendRequest(name, true, ssh.Marshal(struct{ S string }{"pgo//ping"})); ok || err != nil {
			t.Errorf("the server grants a second command by %s, %v", name, err)
		}
	}
	close(block)
	if err := session.Wait(); err != nil {
		t.Error(err)
	}

	for _, kind := range []string{"direct-tcpip", "x11", "auth-agent@openssh.com", "tun@openssh.com"} {
		_, _, err := client.OpenChannel(kind, nil)
		if refused := new(ssh.OpenChannelError); !errors.As(err, &refused) || refused.Reason != ssh.Prohibited {
			t.Errorf("a channel of kind %s: %v", kind, err)
		}
	}
	if _, err := client.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("the server forwards ports")
	}
	if ok, _, err := client.SendRequest("keepalive@openssh.com", true, nil); !ok || err != nil {
		t.Errorf("a keepalive is not answered: %v", err)
	}
}

func TestShellSaysWhatToWrite(t *testing.T) {
	session := newSession(t, startHost(t, backend{}).mustDial(t))
	var stderr bytes.Buffer
	session.Stderr = &stderr
	if err := session.Shell(); err != nil {
		t.Fatal(err)
	}
	if r := (result{err: session.Wait()}); r.status(t) != target.StatusUsage || !strings.Contains(stderr.String(), "write service//operation") {
		t.Errorf("a shell left %q, %v", &stderr, r.err)
	}
}

func TestClientThatLeavesEndsItsCommand(t *testing.T) {
	started, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	h := startHost(t, backend{run: func(ctx context.Context, _ Command) Exit {
		started <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		return Exit{Status: target.StatusFailed}
	}})
	for _, c := range []struct {
		name  string
		leave func(*ssh.Client, *ssh.Session) error
	}{
		{"channel closed", func(_ *ssh.Client, s *ssh.Session) error { return s.Close() }},
		{"connection closed", func(c *ssh.Client, _ *ssh.Session) error { return c.Close() }},
		{"SIGINT", func(_ *ssh.Client, s *ssh.Session) error { return s.Signal(ssh.SIGINT) }},
		{"SIGTERM", func(_ *ssh.Client, s *ssh.Session) error { return s.Signal(ssh.SIGTERM) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := h.mustDial(t)
			session := newSession(t, client)
			if err := session.Start("pgo//logs -f"); err != nil {
				t.Fatal(err)
			}
			receive(t, "the command runs", started)
			if err := c.leave(client, session); err != nil {
				t.Fatal(err)
			}
			receive(t, "the command ends", ended)
			err := session.Wait()
			if exit := new(ssh.ExitError); errors.As(err, &exit) && "SIG"+exit.Signal() != c.name {
				t.Errorf("the client learns %v", err)
			} else if !errors.As(err, &exit) && strings.HasPrefix(c.name, "SIG") {
				t.Errorf("the client learns %v", err)
			}
		})
	}
}

func TestInputIsOfNoConsequence(t *testing.T) {
	proceed := make(chan struct{})
	h := startHost(t, backend{run: func(ctx context.Context, _ Command) Exit {
		select {
		case <-proceed:
			return Exit{Status: 7}
		case <-ctx.Done():
			return Exit{Status: 8}
		}
	}})
	session := newSession(t, h.mustDial(t))
	stdin, err := session.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("pgo//ping"); err != nil {
		t.Fatal(err)
	}
	// More than any window: it is only sent because somebody reads it.
	if _, err := stdin.Write(make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	// The server answers in order: by now it has seen the end of the input.
	if _, err := session.SendRequest("after-eof", true, nil); err != nil {
		t.Fatal(err)
	}
	close(proceed)
	if r := (result{err: session.Wait()}); r.status(t) != 7 {
		t.Errorf("the command ended with %v", r.err)
	}
}

func TestFaultInACommand(t *testing.T) {
	h := startHost(t, backend{run: func(_ context.Context, s Command) Exit {
		if s.Command.Operation == "ping" {
			return Exit{}
		}
		panic("nobody home")
	}})
	client := h.mustDial(t)
	if r := run(t, client, "pgo//ps"); r.status(t) != target.StatusFault || strings.Contains(r.stderr, "nobody home") {
		t.Errorf("it left %+v", r)
	}
	h.log.waitFor(t, "a fault in pgo", "nobody home")
	if r := run(t, client, "pgo//ping"); r.err != nil {
		t.Errorf("the connection did not outlive it: %v", r.err)
	}
}

func TestUnauthorizedCommandsAreLogged(t *testing.T) {
	h := startHost(t, backend{run: func(_ context.Context, s Command) Exit {
		return Exit{Status: target.StatusUnauthorized, Message: target.Unauthorized(s.Identity.User, s.Command.Service)}
	}})
	r := run(t, h.mustDial(t), "pgo//ps")
	if r.status(t) != target.StatusUnauthorized || r.stderr != "Unauthorized: Key for user \"miek\" does not match any for name pgo\n" {
		t.Errorf("it left %+v", r)
	}
	h.log.waitFor(t, "[WARN]", "unauthorized command", "source=127.0.0.1", "user=miek", "fingerprint=", "SHA256:", "service=pgo", "operation=ps", "status=401")
}

func TestSessionsAreBounded(t *testing.T) {
	block := make(chan struct{})
	h := startHost(t, backend{run: func(context.Context, Command) Exit {
		<-block
		return Exit{}
	}}, func(l *Limits) { l.SessionsPerKey = 2 })
	key := newSigner(t)
	client, err := h.dial(t, key)
	if err != nil {
		t.Fatal(err)
	}
	var sessions []*ssh.Session
	for range 2 {
		session := newSession(t, client)
		if err := session.Start("pgo//ps"); err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, session)
	}
	mustBeTooMany := func(client *ssh.Client) {
		t.Helper()
		_, err := client.NewSession()
		if refused := new(ssh.OpenChannelError); !errors.As(err, &refused) || refused.Reason != ssh.ResourceShortage {
			t.Errorf("one session more: %v", err)
		}
	}
	mustBeTooMany(client)
	for range 2 { // one connection that is served, and one that is not
		another, err := h.dial(t, key)
		if err != nil {
			t.Fatal(err)
		}
		mustBeTooMany(another)
	}
	h.log.waitFor(t, "refused connection: too many are open")
	h.mustDial(t) // another key has a share of its own
	close(block)
	for _, session := range sessions {
		if err := session.Wait(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "sessions that end make room", func() bool {
		_, err := client.NewSession()
		return err == nil
	})
}

func TestConnectionsThatRunNothingAreClosed(t *testing.T) {
	t.Parallel()
	h := startHost(t, backend{run: func(context.Context, Command) Exit {
		time.Sleep(time.Second) // longer than a connection may be idle
		return Exit{}
	}}, func(l *Limits) { l.Idle = 700 * time.Millisecond })
	idle, withChannel, busy := h.mustDial(t), h.mustDial(t), h.mustDial(t)
	newSession(t, withChannel)
	if r := run(t, busy, "pgo//ps"); r.err != nil {
		t.Errorf("a connection that ran something was closed: %v", r.err)
	}
	for _, client := range []*ssh.Client{idle, withChannel, busy} {
		closed := make(chan struct{})
		go func() {
			_ = client.Wait()
			close(closed)
		}()
		receive(t, "the connection is closed", closed)
	}
}

func TestClientThatDoesNotAnswerIsGone(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	h := startHost(t, backend{run: func(ctx context.Context, _ Command) Exit {
		close(started)
		<-ctx.Done()
		close(ended)
		return Exit{}
	}}, func(l *Limits) { l.Keepalive, l.KeepaliveMisses = 200*time.Millisecond, 3 })
	// Like dial, but nobody answers the server's requests.
	good := h.mustDial(t)
	conn, _ := dialRaw(t, h)
	channel, _, err := conn.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := channel.SendRequest("exec", true, ssh.Marshal(struct{ S string }{"pgo//logs"})); err != nil {
		t.Fatal(err)
	}
	receive(t, "the command runs", started)
	receive(t, "the command ends", ended)
	if r := run(t, good, "id"); r.status(t) != target.StatusUsage {
		t.Errorf("a client that answers was disconnected: %v", r.err)
	}
}

func TestShutdown(t *testing.T) {
	started, block := make(chan struct{}), make(chan struct{})
	h := startHost(t, backend{run: func(_ context.Context, s Command) Exit {
		close(started)
		<-block
		fmt.Fprint(s.Stdout, "done")
		return Exit{Status: 5}
	}})
	client := h.mustDial(t)
	running, waiting := newSession(t, client), newSession(t, client)
	var stdout, stderr bytes.Buffer
	running.Stdout, waiting.Stderr = &stdout, &stderr
	if err := running.Start("pgo//up"); err != nil {
		t.Fatal(err)
	}
	receive(t, "the command runs", started)
	down := make(chan error)
	go func() { down <- h.Shutdown(context.Background()) }()
	eventually(t, "no new connections are accepted", func() bool {
		_, err := h.dial(t, newSigner(t))
		return err != nil
	})
	if r := (result{err: waiting.Run("pgo//ps")}); r.status(t) != target.StatusUnavailable || !strings.Contains(stderr.String(), "stopping") {
		t.Errorf("a new command left %q, %v", &stderr, r.err)
	}
	close(block)
	if r := (result{err: running.Wait()}); r.status(t) != 5 || stdout.String() != "done" {
		t.Errorf("the running command left %q, %v", &stdout, r.err)
	}
	if err := receive(t, "the server is down", down); err != nil {
		t.Error(err)
	}
	if err := h.Serve(context.Background(), nopListener{}); !errors.Is(err, ErrClosed) {
		t.Errorf("it serves again: %v", err)
	}
}

// A client that has still to read how its command ended may answer meanwhile.
func TestShutdownResetsNoConnection(t *testing.T) {
	started := make(chan struct{})
	h := startHost(t, backend{run: func(ctx context.Context, _ Command) Exit {
		close(started)
		<-ctx.Done()
		return Exit{}
	}})
	// What the server sends waits in between.
	between, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer between.Close()
	var held sync.Mutex
	direct := h.addr
	go func() {
		client, err := between.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", direct)
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		}()
		buffer := make([]byte, 1<<10)
		for {
			n, err := server.Read(buffer)
			held.Lock()
			_, _ = client.Write(buffer[:n])
			held.Unlock()
			if err != nil {
				_ = client.Close()
				return
			}
		}
	}()
	h.addr = between.Addr().String()
	client := h.mustDial(t)
	h.addr = direct
	session := newSession(t, client)
	if err := session.Start("pgo//logs -f"); err != nil {
		t.Fatal(err)
	}
	receive(t, "the command runs", started)
	held.Lock()
	ended := make(chan error, 1)
	go func() { ended <- session.Wait() }()
	if err := session.Signal(ssh.SIGINT); err != nil { // which ends the command
		t.Fatal(err)
	}
	down := make(chan error, 1)
	go func() { down <- h.Shutdown(context.Background()) }()
	select {
	case err := <-down:
		t.Errorf("the server is down before its client has read how the command ended: %v", err)
	case err := <-ended:
		t.Errorf("the client knows already: %v", err)
	case <-time.After(time.Second / 4):
	}
	held.Unlock()
	if exit := new(ssh.ExitError); !errors.As(receive(t, "the client knows how its command ended", ended), &exit) || exit.Signal() != "INT" {
		t.Errorf("the command ended with %v", exit)
	}
	if err := receive(t, "the server is down", down); err != nil {
		t.Error(err)
	}
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	h := startHost(t, backend{run: func(ctx context.Context, _ Command) Exit {
		close(started)
		<-ctx.Done()
		close(ended)
		return Exit{}
	}})
	session := newSession(t, h.mustDial(t))
	if err := session.Start("pgo//logs -f"); err != nil {
		t.Fatal(err)
	}
	receive(t, "the command runs", started)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := h.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown returned %v", err)
	}
	receive(t, "the command is ended", ended)
}
