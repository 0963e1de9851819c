package main

import (
	"net"
	"strings"
	"syscall"
	"testing"
)

// Somebody at a terminal sees what pgoctl waits for, until there is something else to see.
func TestProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := sit(t, w.command(at("pgo", "watch")...))
	s.sees(" waiting for 127.0.0.1…")
	w.host.more <- "some output\n"
	s.sees("\r\x1b[Ksome output\r\n")
	w.host.more <- "and more\n"
	s.sees("and more\r\n")
	w.must(s.program.Process.Signal(syscall.SIGINT))
	s.exits(130)
	if shown := s.all(); !strings.HasSuffix(shown, "\r\x1b[Ksome output\r\nand more\r\n") {
		t.Errorf("it shows %q", shown)
	}
}

func TestProgressWhileConnecting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	defer silent.Close()
	_, w.port, err = net.SplitHostPort(silent.Addr().String())
	w.must(err)
	s := sit(t, w.command(at("pgo", "ps")...))
	s.sees(" connecting to 127.0.0.1…")
	w.must(s.program.Process.Signal(syscall.SIGINT))
	s.exits(130)
	if shown := s.all(); !strings.HasSuffix(shown, "\r\x1b[K") {
		t.Errorf("it leaves %q behind", shown)
	}
}

// Without a terminal, or if the user does not want it or types, nothing is shown, however long it
// takes.
func TestNoProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	quiet := sit(t, w.command(append([]string{"-q"}, at("pgo", "exec", "web", "late")...)...))
	typing := sit(t, w.command(at("pgo", "exec", "-T", "web", "late")...))
	interactive := sit(t, w.command(at("pgo", "exec", "web", "late")...))
	for name, s := range map[string]*terminal{"quiet": quiet, "typing": typing, "interactive": interactive} {
		s.exits(0)
		shown := strings.TrimSpace(s.all())
		if name != "quiet" { // the connecting is shown where it takes long
			shown = shown[strings.LastIndex(shown, "\r")+1:]
			shown = strings.TrimPrefix(shown, "\x1b[K")
		}
		if shown != "late" || strings.Contains(s.all(), "waiting") {
			t.Errorf("%s: it shows %q", name, s.all())
		}
	}
	piped := w.command(at("pgo", "exec", "web", "late")...)
	output, err := piped.CombinedOutput()
	if err != nil || string(output) != "late\n" {
		t.Errorf("in a pipe it shows %q, %v", output, err)
	}
}
