package test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"

	"pgo/test/rig"
)

// terminal is a client's terminal, with somebody who types and reads.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	file *os.File
	done chan struct{}

	mu   sync.Mutex
	text strings.Builder // all that was shown
	seen int             // of it, by shows
}

func sit(t *testing.T, cmd *exec.Cmd, columns, rows uint16) *terminal {
	t.Helper()
	cmd.Env = append(cmd.Env, "TERM=xterm-pgo")
	file, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: columns, Rows: rows})
	if err != nil {
		t.Fatal(err)
	}
	s := &terminal{t: t, cmd: cmd, file: file, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		buf := make([]byte, 4096)
		for {
			n, err := file.Read(buf)
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.mu.Unlock()
			if err != nil { // EIO: the client has ended
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = file.Close()
	})
	return s
}

// shows waits for new output that matches the expression, and returns it.
func (s *terminal) shows(expression string) string {
	s.t.Helper()
	e, found := regexp.MustCompile(expression), ""
	rig.Until(s.t, fmt.Sprintf("the terminal to show %q", expression), func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		news := s.text.String()[s.seen:]
		at := e.FindStringIndex(news)
		if at == nil {
			return fmt.Errorf("it shows %q", news)
		}
		found = news[at[0]:at[1]]
		s.seen += at[1]
		return nil
	})
	return found
}

func (s *terminal) types(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.file, keys); err != nil {
		s.t.Fatal(err)
	}
}

func (s *terminal) ends(code int) {
	s.t.Helper()
	<-s.done
	if _ = s.cmd.Wait(); s.cmd.ProcessState.ExitCode() != code {
		s.t.Errorf("%v ended with %v, not %d: %s", s.cmd.Args, s.cmd.ProcessState, code, s.text.String())
	}
}

// onTerminal returns the clients as somebody at a terminal runs them.
func onTerminal(pgod *rig.Pgod) map[string]func(*rig.Key, ...string) *exec.Cmd {
	return map[string]func(*rig.Key, ...string) *exec.Cmd{
		"pgoctl": pgod.PgoctlCommand,
		"ssh": func(key *rig.Key, words ...string) *exec.Cmd {
			cmd := pgod.SSHCommand(key, words...)
			cmd.Args = slices.Insert(cmd.Args, 1, "-t")
			return cmd
		},
	}
}

// With a terminal, exec is like a shell on the host itself: the size and changes of it, control
// keys, the program's status.
func TestExecTerminal(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	for client, command := range onTerminal(pgod) {
		t.Run(client, func(t *testing.T) {
			s := sit(t, command(web.Key, web.Op("exec"), "talker", "sh"), 101, 37)
			s.types("echo $TERM; busybox stty size\r")
			s.shows(`xterm-pgo\r\n`)
			// Before the program has begun there is no size.
			for s.shows(`(\d+ \d+|stty: .*)\r\n`) != "37 101\r\n" {
				s.types("busybox stty size\r")
			}
			if err := pty.Setsize(s.file, &pty.Winsize{Cols: 55, Rows: 22}); err != nil {
				t.Fatal(err)
			}
			for size := ""; size != "22 55\r\n"; {
				s.types("busybox stty size\r")
				size = s.shows(`\d+ \d+\r\n`)
			}
			s.types("sleep 5001\r")
			rig.Until(t, "sleep to run", inside(pgod, web, "sleep 5001"))
			s.types("\x03") // Ctrl-C
			rig.Until(t, "sleep to end", notInside(pgod, web, "sleep 5001"))
			s.types("cat -u\r")
			rig.Until(t, "cat to run", inside(pgod, web, "cat -u"))
			s.types("hello\r")
			s.shows(`hello\r\nhello\r\n`)
			s.types("\x04") // Ctrl-D ends cat
			s.types("echo still $((40+2))\r")
			s.shows(`still 42\r\n`)
			s.types("exit 7\r")
			s.ends(7)
		})
	}
}

// Closing the terminal is a hangup.
func TestExecTerminalHangUp(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	for client, command := range onTerminal(pgod) {
		s := sit(t, command(web.Key, web.Op("exec"), "talker", "sh"), 80, 24)
		s.types("sleep 5002\r")
		rig.Until(t, "sleep to run", inside(pgod, web, "sleep 5002"))
		if err := s.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-s.done
		rig.Until(t, "sleep to end after "+client+" has gone", notInside(pgod, web, "sleep 5002"))
	}
}

// What uses no terminal looks right on one all the same, and Ctrl-C ends it.
func TestOutputOnTerminal(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	for client, command := range onTerminal(pgod) {
		t.Run(client, func(t *testing.T) {
			s := sit(t, command(web.Key, web.Op("ps"), "--services"), 80, 24)
			s.shows(`talker\r\n`)
			s.ends(0)
			s = sit(t, command(web.Key, web.Op("ping"), "loudly"), 80, 24)
			s.shows(`ping takes no argument "loudly"[^\n]*\r\n`)
			s.ends(map[string]int{"ssh": 400 % 256, "pgoctl": 64}[client])

			// Compose colours the names of containers.
			s = sit(t, command(web.Key, web.Op("logs"), "-f"), 80, 24)
			s.shows(`\x1b\[\d+m`)
			s.shows(`line 9\r\n`)
			follow := composing(t, web, "logs")
			s.types("\x03")
			s.ends(map[string]int{"ssh": 255, "pgoctl": 130}[client])
			rig.Until(t, "compose to end", gone(follow))
		})
	}
}
