package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
)

// snapshot returns a line of `//top --json` with one service in this state.
func snapshot(state string) string {
	return fmt.Sprintf(`{"time":"2026-05-04T12:00:00Z","host":{"name":"web1","cores":2},"services":[`+
		`{"service":"shop","state":%q,"deployed":"468ac4e2d9b9","error":{"text":"\u001b[2Jwhy"},"worker":{"state":"ready"}}]}`+"\n", state)
}

const top = "127.0.0.1://top"

// At a terminal //top is a screen, which follows what the host reports, and the terminal's size.
func TestTopIsAScreen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operator()
	s := sit(t, w.command(top))
	before := s.settings()
	w.host.more <- snapshot("running")
	s.sees("\x1b[?1049h") // the alternate screen
	s.sees("shop")
	w.host.more <- snapshot("unwell")
	s.sees("unwell")
	if strings.Contains(s.all(), "\x1b[2Jwhy") {
		t.Error("what a host sends controls the terminal")
	}
	s.types("\r")
	s.sees("worker:")
	w.must(pty.Setsize(s.File, &pty.Winsize{Cols: 60, Rows: 10}))
	s.types("\x1b[D")
	s.sees("COMMIT")
	s.types("q")
	s.exits(0)
	if !strings.Contains(s.all(), "\x1b[?1049l") || s.settings() != before {
		t.Errorf("the terminal is not what it was: %+v", s.settings())
	}
}

func TestTopEndsWithCtrlCAndSignals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operator()
	for exit, leave := range map[int]func(*terminal){
		0:   func(s *terminal) { s.types("\x03") },
		143: func(s *terminal) { w.must(s.program.Process.Signal(syscall.SIGTERM)) },
		129: func(s *terminal) { w.must(s.program.Process.Signal(syscall.SIGHUP)) },
	} {
		s := sit(t, w.command(top))
		before := s.settings()
		w.host.more <- snapshot("running")
		s.sees("shop")
		leave(s)
		s.exits(exit)
		if !strings.Contains(s.all(), "\x1b[?1049l") || s.settings() != before {
			t.Errorf("after %d the terminal is not what it was: %+v", exit, s.settings())
		}
	}
}

// A host that goes away is shown as such, and comes back.
func TestTopShowsTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operator()
	s := sit(t, w.command(top))
	w.host.more <- snapshot("running")
	s.sees("shop")
	w.host.stop()
	s.sees("the connection was lost")
	w.restart()
	w.host.more <- snapshot("deploying")
	s.sees("deploying")
	w.host.more <- "nonsense\n"
	s.sees("not a snapshot")
	s.types("q")
	s.exits(0)
}

// Several hosts are in one table. One that is away does not affect the others.
func TestTopOfSeveralHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operator()
	w.write(".config/pgo/hosts.toml", "[hosts.web1]\nhost = \"127.0.0.1\"\n")
	c := w.command("web1,localhost.invalid://top")
	s := sit(t, c)
	w.host.more <- snapshot("running")
	s.sees("HOST")
	s.sees("shop")
	s.types("q")
	s.exits(0)
	// If no host reports anything, there is no screen.
	w.write("ssh/operators/id.pub", "")
	s = sit(t, w.command("web1,localhost.invalid://top"))
	s.exits(255)
	for _, want := range []string{"Process exited with status 401", "cannot connect to localhost.invalid", "web1              |"} {
		if !strings.Contains(s.all(), want) {
			t.Errorf("it does not show %q: %q", want, s.all())
		}
	}
	s = sit(t, w.command(top))
	s.exits(77)
	if !strings.Contains(s.all(), `Unauthorized: Key for user "miek" is not an operator's`) || strings.Contains(s.all(), "\x1b[?1049h") {
		t.Errorf("it shows %q", s.all())
	}
}

// With flags, or in a pipe, it is the host's own output.
func TestTopElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operator()
	s := sit(t, w.command(top, "--no-stream"))
	s.exits(0)
	if want := "a table [\"--no-stream\"], colours: true\r\n"; s.all() != want {
		t.Errorf("with a flag it shows %q", s.all())
	}
	dumb := w.command(top)
	dumb.Env = append(dumb.Env, "TERM=dumb")
	s = sit(t, dumb)
	s.exits(0)
	if want := "a table [], colours: false\r\n"; s.all() != want {
		t.Errorf("on a dumb terminal it shows %q", s.all())
	}
	output, err := w.command(top).CombinedOutput()
	if want := "a table [], colours: false\n"; err != nil || string(output) != want {
		t.Errorf("in a pipe it shows %q, %v", output, err)
	}
	json := w.command("--json", top)
	read, write, err := os.Pipe()
	w.must(err)
	json.Stdout = write
	s = sit(t, json)
	w.host.more <- "{}\n"
	if line, err := bufio.NewReader(read).ReadString('\n'); err != nil || line != "{}\n" {
		t.Errorf("as JSON it shows %q, %v", line, err)
	}
	w.must(json.Process.Signal(syscall.SIGINT))
	s.exits(130)
}

// NO_COLOR affects only colours.
func TestTopWithoutColors(t *testing.T) {
	t.Parallel()
	for env, colored := range map[string]bool{"NO_COLOR=1": false, "X=": true} {
		w := newWorld(t)
		w.operator()
		c := w.command(top)
		c.Env = append(c.Env, env)
		s := sit(t, c)
		w.host.more <- snapshot("refused")
		s.sees("refused")
		s.types("q")
		s.exits(0)
		if got := strings.Contains(s.all(), "\x1b[31m"); got != colored {
			t.Errorf("%s: it shows %q", env, s.all())
		}
	}
}
