package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/pflag"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"pgo/internal/printable"
	"pgo/internal/sshd"
	"pgo/internal/target"
)

func TestMain(m *testing.M) {
	// Under nohup every process started here would inherit an ignored SIGHUP. A caught signal is
	// not inherited.
	if filepath.Base(os.Args[0]) != "pgoctl" {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	testscript.Main(m, map[string]func(){"pgoctl": func() {
		// Tests must not depend on how fast a host answers a shell.
		if d, err := time.ParseDuration(os.Getenv("COMPLETION_TIME")); err == nil {
			completionTime = d
		}
		// Nor on a pgod that runs on this host.
		portsDir, usualDir = os.Getenv("PORTS_DIR"), os.Getenv("USUAL_DIR")
		isRoot = usualDir != ""
		main()
	}})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("USER", "miek")
			h := newTestHost(filepath.Join(e.WorkDir, "ssh"))
			e.Values[scriptHost{}] = h
			e.Defer(h.close)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"host":         cmdHost,
			"silent":       cmdSilent,
			"agent":        cmdAgent,
			"sortedstdout": func(ts *testscript.TestScript, _ bool, args []string) { sorted(ts, "stdout", args[0]) },
			"sortedstderr": func(ts *testscript.TestScript, _ bool, args []string) { sorted(ts, "stderr", args[0]) },
			"offers":       cmdOffers,
			"expand":       cmdExpand,
			"exits":        cmdExits,
			"terminate":    cmdTerminate,
			"running":      func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(await(hostOf(ts).running)) },
			"ended":        func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(await(hostOf(ts).ended)) },
		},
	})
}

type scriptHost struct{}

func hostOf(ts *testscript.TestScript) *testHost { return ts.Value(scriptHost{}).(*testHost) }

// cmdHost starts a host on 127.0.0.1:$PORT that has the key $FINGERPRINT and the line $KNOWN_HOST
// for a file of known hosts. A second call brings the host back with another key. The argument is
// how many sessions it accepts from one key.
func cmdHost(ts *testscript.TestScript, _ bool, args []string) {
	h := hostOf(ts)
	h.stop()
	listener, err := h.listen()
	ts.Check(err)
	limits := sshd.DefaultLimits()
	if len(args) > 0 {
		limits.SessionsPerKey, err = strconv.Atoi(args[0])
		ts.Check(err)
	}
	key, err := h.start(listener, limits)
	ts.Check(err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
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

// sorted compares an output with a file, line by line in any order.
func sorted(ts *testscript.TestScript, stream, file string) {
	lines := strings.SplitAfter(ts.ReadFile(stream), "\n")
	slices.Sort(lines)
	if got := strings.Join(lines, ""); got != ts.ReadFile(file) {
		ts.Fatalf("%s, sorted, is:\n%s", stream, got)
	}
}

// cmdExpand makes a file from a template, whose variables are those of the script.
func cmdExpand(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o700))
	ts.Check(os.WriteFile(path, []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o644))
}

// cmdTerminate asks the last background program to end.
func cmdTerminate(ts *testscript.TestScript, _ bool, _ []string) {
	programs := ts.BackgroundCmds()
	ts.Check(programs[len(programs)-1].Process.Signal(syscall.SIGTERM))
}

// cmdExits runs a program and checks that it ends with this exit code.
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

// A second signal ends pgoctl, whatever it waits for.
func TestSignals(t *testing.T) {
	var got []string
	s := &signals{
		stop: func(cause error) { got = append(got, "stop "+cause.Error()) },
		die:  func(code int) { got = append(got, fmt.Sprint("die ", code)) },
	}
	taken := make(chan syscall.Signal, 1)
	back := s.divert(func(number syscall.Signal) { taken <- number })
	s.next(syscall.SIGINT)
	if number := <-taken; number != syscall.SIGINT {
		t.Errorf("the command gets %v", number)
	}
	s.next(syscall.SIGTERM)
	s.next(syscall.SIGINT)
	if want := []string{"stop terminated", "die 130"}; !slices.Equal(got, want) {
		t.Errorf("the second and third signal have led to %q", got)
	}
	s.divert(func(syscall.Signal) { t.Error("a command that has ended gets a signal") })
	back()
	s.next(syscall.SIGQUIT)
	if got[2] != "die 131" {
		t.Errorf("the fourth signal has led to %q", got[2])
	}
}

func TestInterruptedRunsExitAsShellsDo(t *testing.T) {
	for signal, want := range map[interrupted]int{2: 130, 15: 143, 1: 129} {
		received := make(chan os.Signal, 1)
		received <- syscall.Signal(signal)
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		target := fmt.Sprintf("--port=%d", silent.Addr().(*net.TCPAddr).Port)
		env := func(name string) string { return map[string]string{"PGOCTL_ID": newKey(t), "HOME": t.TempDir()}[name] }
		var stdout, stderr bytes.Buffer
		if got := run(received, []string{target, "127.0.0.1:pgo//ps"}, env, nil, &stdout, &stderr); got != want || stdout.Len()+stderr.Len() > 0 {
			t.Errorf("after signal %d it exits %d and prints %q, %q", signal, got, &stdout, &stderr)
		}
	}
}

func TestCommandsThatASignalEnds(t *testing.T) {
	for signal, want := range map[string]int{"TERM": 143, "USR1": 138, "\x1b[2J": 128} {
		var stderr bytes.Buffer
		c := &console{stderr: &stderr}
		said := "[ERROR] Process exited with signal " + printable.Line(signal) + "\n"
		if code := c.report(&statusError{status: 128, signal: signal}); code != want || stderr.String() != said {
			t.Errorf("after %q it exits %d and prints %q", signal, code, &stderr)
		}
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

// newKey returns a private key that no host knows.
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
