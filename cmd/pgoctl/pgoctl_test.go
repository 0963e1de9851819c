package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/pflag"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"pgo/internal/sshd"
	"pgo/internal/target"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pgoctl": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("USER", "miek")
			h := &testHost{dir: filepath.Join(e.WorkDir, "ssh"), running: make(chan struct{}, 1), ended: make(chan struct{}, 1)}
			e.Values[hostKey{}] = h
			e.Defer(h.stop)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"host":    cmdHost,
			"silent":  cmdSilent,
			"agent":   cmdAgent,
			"exits":   cmdExits,
			"running": func(ts *testscript.TestScript, _ bool, _ []string) { hostOf(ts).await(ts, hostOf(ts).running) },
			"ended":   func(ts *testscript.TestScript, _ bool, _ []string) { hostOf(ts).await(ts, hostOf(ts).ended) },
		},
	})
}

type hostKey struct{}

func hostOf(ts *testscript.TestScript) *testHost { return ts.Value(hostKey{}).(*testHost) }

// cmdHost starts a host on 127.0.0.1:$PORT that has the key $FINGERPRINT and the line
// $KNOWN_HOST for a file of known hosts. Said again, the host comes back with another key.
// An argument is how many sessions it takes from one key.
func cmdHost(ts *testscript.TestScript, _ bool, args []string) {
	h := hostOf(ts)
	h.stop()
	port := ts.Getenv("PORT")
	if port == "" {
		port = "0"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	ts.Check(err)
	limits := sshd.DefaultLimits()
	if len(args) > 0 {
		limits.SessionsPerKey, err = strconv.Atoi(args[0])
		ts.Check(err)
	}
	key := h.start(ts, listener, limits)
	_, port, err = net.SplitHostPort(listener.Addr().String())
	ts.Check(err)
	ts.Setenv("PORT", port)
	ts.Setenv("FINGERPRINT", ssh.FingerprintSHA256(key))
	ts.Setenv("KNOWN_HOST", "[127.0.0.1]:"+port+" "+strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
}

// cmdSilent listens on 127.0.0.1:$PORT and says nothing.
func cmdSilent(ts *testscript.TestScript, _ bool, _ []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts
	ts.Check(err)
	ts.Defer(func() { listener.Close() })
	_, port, err := net.SplitHostPort(listener.Addr().String())
	ts.Check(err)
	ts.Setenv("PORT", port)
}

// cmdAgent starts an SSH agent with the keys of these files, and sets SSH_AUTH_SOCK.
func cmdAgent(ts *testscript.TestScript, _ bool, files []string) {
	ring := agent.NewKeyring()
	for _, file := range files {
		private, err := ssh.ParseRawPrivateKey([]byte(ts.ReadFile(file)))
		if errors.As(err, new(*ssh.PassphraseMissingError)) {
			private, err = ssh.ParseRawPrivateKeyWithPassphrase([]byte(ts.ReadFile(file)), []byte("open sesame"))
		}
		ts.Check(err)
		ts.Check(ring.Add(agent.AddedKey{PrivateKey: private}))
	}
	dir, err := os.MkdirTemp(ts.Getenv("WORK"), "agent")
	ts.Check(err)
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	ts.Check(err)
	ts.Defer(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, conn) }() // until the client closes it
		}
	}()
	ts.Setenv("SSH_AUTH_SOCK", listener.Addr().String())
}

// cmdExits runs a program and wants this exit code of it.
func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := new(exec.ExitError)
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("the exit code is %d, not %d", got, want)
	}
}

// testHost is what pgod is without services: its listener, and a backend that does as if.
type testHost struct {
	dir            string // the public keys of a service are in <dir>/<service>/*.pub
	server         *sshd.Server
	running, ended chan struct{} // `logs -f`
}

func (h *testHost) start(ts *testscript.TestScript, listener net.Listener, limits sshd.Limits) ssh.PublicKey {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	ts.Check(err)
	signer, err := ssh.NewSignerFromKey(private)
	ts.Check(err)
	h.server = sshd.New(sshd.Options{HostKey: signer, Backend: h, Logger: hclog.NewNullLogger(), Limits: limits})
	go func() { ts.Check(h.server.Serve(context.Background(), listener)) }()
	return signer.PublicKey()
}

func (h *testHost) stop() {
	if h.server != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = h.server.Shutdown(ctx) // at once, whatever runs
	}
}

func (h *testHost) await(ts *testscript.TestScript, c <-chan struct{}) {
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		ts.Fatalf("waited in vain")
	}
}

func (h *testHost) Knows(_ context.Context, key ssh.PublicKey) (sshd.Party, bool) {
	return sshd.Party{}, h.may(key, "*")
}

func (h *testHost) may(key ssh.PublicKey, service string) bool {
	files, _ := filepath.Glob(filepath.Join(h.dir, service, "*.pub"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		if k, _, _, _, err := ssh.ParseAuthorizedKey(text); err == nil && bytes.Equal(k.Marshal(), key.Marshal()) {
			return true
		}
	}
	return false
}

func (h *testHost) Run(ctx context.Context, s sshd.Session) sshd.Exit {
	c := s.Command
	if !h.may(s.Identity.Key, c.Service) {
		return sshd.Exit{Status: target.StatusUnauthorized, Message: target.Unauthorized(s.Identity.User, c.Service)}
	}
	switch c.Operation {
	case "ping":
		fmt.Fprintln(s.Stdout, "pong!")
	case "ps":
		fmt.Fprintf(s.Stdout, "%q\n", c.Args)
		fmt.Fprint(s.Stderr, "Unauthorized: says the container, and then\nmore\n")
	case "down": // ends as it is told
		status, _ := strconv.Atoi(c.Args[1])
		message := ""
		if status >= 400 {
			message = "the host says " + c.Args[1]
		}
		return sshd.Exit{Status: uint32(status), Message: message}
	case "logs":
		fmt.Fprintln(s.Stdout, "following")
		h.running <- struct{}{}
		<-ctx.Done()
		h.ended <- struct{}{}
	}
	return sshd.Exit{}
}

func TestInterruptedRunsExitAsShellsDo(t *testing.T) {
	for signal, want := range map[interrupted]int{2: 130, 15: 143, 1: 129} {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(signal)
		env := func(name string) string { return map[string]string{"PGOCTL_ID": newKey(t), "HOME": t.TempDir()}[name] }
		var stdout, stderr bytes.Buffer
		if got := run(ctx, []string{"localhost:pgo//ps"}, env, &stdout, &stderr); got != want || stdout.Len()+stderr.Len() > 0 {
			t.Errorf("after signal %d it exits %d and prints %q, %q", signal, got, &stdout, &stderr)
		}
	}
}

func TestCommandsThatASignalEnds(t *testing.T) {
	var stderr bytes.Buffer
	c := &client{stderr: &stderr}
	if code := c.report(&statusError{status: 143, signal: "TERM"}); code != 143 || stderr.String() != "[ERROR] Process exited with signal TERM\n" {
		t.Errorf("it exits %d and prints %q", code, &stderr)
	}
}

func TestRefusalFilter(t *testing.T) {
	for _, c := range []struct {
		name          string
		writes        []string
		through, held string
	}{
		{"nothing", nil, "", ""},
		{"output", []string{"some", "thing\n"}, "something\n", ""},
		{"a refusal", []string{"Unauthorized: no\n"}, "", "Unauthorized: no\n"},
		{"a refusal in pieces", []string{"Unauth", "orized", ": no", "\n"}, "", "Unauthorized: no\n"},
		{"begins like one", []string{"Un", "til\n", "Unauthorized: no\n"}, "Until\nUnauthorized: no\n", ""},
		{"goes on", []string{"Unauthorized: no\n", "more\n"}, "Unauthorized: no\nmore\n", ""},
		{"goes on at once", []string{"Unauthorized: no\nmore"}, "Unauthorized: no\nmore", ""},
		{"endless", []string{"Unauthorized: ", strings.Repeat("x", 2000)}, "Unauthorized: " + strings.Repeat("x", 2000), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			f := &refusalFilter{out: &out}
			for _, w := range c.writes {
				if n, err := io.WriteString(f, w); n != len(w) || err != nil {
					t.Errorf("Write returned %d, %v", n, err)
				}
			}
			if out.String() != c.through || f.held.String() != c.held {
				t.Errorf("%q went through, %q is held", &out, &f.held)
			}
		})
	}
}

// newKey returns a private key that nobody knows.
func newKey(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "id")
	signer, err := sshd.LoadOrCreateHostKey(path)
	if err != nil || signer == nil {
		t.Fatal(err)
	}
	return path
}

func TestManualIsComplete(t *testing.T) {
	text, err := os.ReadFile("pgoctl.1.md")
	if err != nil {
		t.Fatal(err)
	}
	must := func(words ...string) {
		for _, word := range words {
			if word != "" && !bytes.Contains(text, []byte("**"+word+"**")) {
				t.Errorf("the manual does not mention %s", word)
			}
		}
	}
	for _, o := range target.Operations() {
		if o.Scope == target.Host {
			o.Name = "//" + o.Name
		}
		must(o.Name)
		for _, f := range o.Flags {
			must(f.Short)
			if !bytes.Contains(text, []byte("**"+f.Long)) {
				t.Errorf("the manual does not mention %s of %s", f.Long, o.Name)
			}
		}
	}
	(&client{env: os.Getenv}).command().Flags().VisitAll(func(f *pflag.Flag) {
		must("--" + f.Name)
		if f.Shorthand != "" {
			must("-" + f.Shorthand)
		}
	})
}
