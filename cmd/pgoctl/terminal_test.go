package main

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// On a terminal exec has one as well, with its type and size, also when the size changes.
func TestExecHasTheTerminalsSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := sit(t, w.command(at("pgo", "exec", "web", "tty")...))
	s.sees("xterm 100x30\r\n")
	w.must(pty.Setsize(s.File, &pty.Winsize{Cols: 132, Rows: 43}))
	s.sees("xterm 132x43\r\n")
	s.types("\x04") // a byte like any other: the input continues
	w.must(pty.Setsize(s.File, &pty.Winsize{Cols: 80, Rows: 24}))
	s.sees("xterm 80x24\r\n")
	w.must(s.program.Process.Signal(syscall.SIGTERM))
	s.exits(143)
}

// Ctrl-C, Ctrl-D, Ctrl-Z and the others are ordinary keys, and nothing is echoed here.
func TestExecGetsEachKey(t *testing.T) {
	t.Parallel()
	s := sit(t, newWorld(t).command(at("pgo", "exec", "web", "keys")...))
	before := s.settings()
	s.sees("ready\r\n")
	for key, shown := range map[string]string{"\x03": `'\x03'`, "\x04": `'\x04'`, "\x1a": `'\x1a'`, "\x1c": `'\x1c'`, "\r": `'\r'`, "x": "'x'"} {
		s.types(key)
		s.sees(shown + "\r\n")
	}
	if raw := s.settings(); raw.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 {
		t.Errorf("the terminal is not raw: %+v", raw)
	}
	s.types("q")
	s.exits(3)
	if !strings.HasSuffix(s.all(), "[ERROR] Process exited with status 3\x1b[0m\r\n") {
		t.Errorf("in the end it shows %q", s.all())
	}
	if after := s.settings(); after != before {
		t.Errorf("the terminal was %+v and is %+v", before, after)
	}
}

// However pgoctl ends, it restores the terminal.
func TestTerminalIsRestored(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(*world, *terminal)
		exit int
	}{
		"SIGTERM": {func(w *world, s *terminal) { w.must(s.program.Process.Signal(syscall.SIGTERM)) }, 143},
		"SIGINT":  {func(w *world, s *terminal) { w.must(s.program.Process.Signal(syscall.SIGINT)) }, 130},
		"SIGHUP":  {func(w *world, s *terminal) { w.must(s.program.Process.Signal(syscall.SIGHUP)) }, 129},
		"SIGQUIT": {func(w *world, s *terminal) { w.must(s.program.Process.Signal(syscall.SIGQUIT)) }, 131},
		"host":    {func(w *world, _ *terminal) { w.host.stop() }, 255},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := sit(t, w.command(at("pgo", "exec", "web", "keys")...))
			before := s.settings()
			s.sees("ready\r\n")
			c.end(w, s)
			s.exits(c.exit)
			if after := s.settings(); after != before {
				t.Errorf("the terminal was %+v and is %+v", before, after)
			}
		})
	}
}

// A fault in pgoctl does not leave the terminal raw.
func TestFaultsLeaveRawMode(t *testing.T) {
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer tty.Close()
	s := &terminal{File: tty, t: t}
	before := s.settings()
	var raw rawMode
	defer func() {
		if recover() == nil {
			t.Error("the fault is no longer reported")
		}
		if after := s.settings(); after != before {
			t.Errorf("the terminal was %+v and is %+v", before, after)
		}
	}()
	defer raw.guard()
	if err := raw.enter(tty); err != nil || !raw.entered() || s.settings() == before {
		t.Errorf("the terminal is not raw: %v", err)
	}
	panic("a fault")
}

// A key that may not use the service leaves nothing behind, and -T does not take the terminal.
func TestExecWithoutATerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := sit(t, w.command(append([]string{"-T"}, at("pgo", "exec", "web", "tty")...)...))
	before := s.settings()
	s.sees("not a tty, colours: true\r\n")
	s.exits(0)
	s = sit(t, w.command(at("other", "exec", "web", "tty")...))
	s.exits(77)
	if after := s.settings(); after != before {
		t.Errorf("the terminal was %+v and is %+v", before, after)
	}
	// Input is sent line by line; Ctrl-D ends it.
	s = sit(t, w.command(at("pgo", "exec", "-T", "web", "cat")...))
	s.types("hello\n")
	s.sees("hello\r\nhello\r\n")
	s.types("\x04")
	s.exits(0)
}

// Errors are red on a terminal, for those who want colours, and the host is asked for coloured
// output.
func TestColors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env     string
		colored bool
	}{{"X=", true}, {"NO_COLOR=", true}, {"NO_COLOR=1", false}, {"TERM=dumb", false}} {
		w := newWorld(t)
		w.env = append(w.env, c.env)
		s := sit(t, w.command(append([]string{"--quiet"}, at("pgo", "exec", "-T", "web", "tty")...)...)) // without progress
		s.exits(0)
		if want := fmt.Sprintf("not a tty, colours: %v\r\n", c.colored); s.all() != want {
			t.Errorf("%s: it shows %q", c.env, s.all())
		}
		s = sit(t, w.command(at("pgo", "nothing")...))
		s.exits(64)
		if red := strings.HasPrefix(s.all(), "\x1b[31mpgoctl: no operation"); red != c.colored {
			t.Errorf("%s: it shows %q", c.env, s.all())
		}
	}
	// Each stream counts for itself.
	w := newWorld(t)
	var stderr bytes.Buffer
	command := w.command(at("pgo", "exec", "web", "exit", "4")...)
	command.Stderr = &stderr
	s := sit(t, command)
	s.exits(4)
	if stderr.String() != "[ERROR] Process exited with status 4\n" {
		t.Errorf("a file gets %q", &stderr)
	}
}
