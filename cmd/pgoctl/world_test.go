package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"

	"pgo/internal/sshd"
)

// world is a host with a service, pgo, and somebody at home who may use it.
type world struct {
	t    *testing.T
	host *testHost
	home string
	port string
	env  []string
}

func newWorld(t *testing.T) *world {
	home := t.TempDir()
	w := &world{t: t, host: newTestHost(filepath.Join(home, "ssh")), home: home}
	w.restart()
	t.Cleanup(w.host.close)
	signer, err := sshd.LoadOrCreateHostKey(filepath.Join(home, "id"))
	w.must(err)
	w.write("ssh/pgo/id.pub", string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	w.env = []string{"HOME=" + home, "USER=miek", "TERM=xterm", "PGOCTL_ID=" + filepath.Join(home, "id"), "PATH=" + os.Getenv("PATH"), "GORACE=" + os.Getenv("GORACE")}
	return w
}

// restart starts the host, also again after a stop.
func (w *world) restart() {
	w.t.Helper()
	listener, err := w.host.listen()
	// The kernel may not have released the old socket yet.
	for limit := time.Now().Add(10 * time.Second); errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(limit); {
		time.Sleep(10 * time.Millisecond)
		listener, err = w.host.listen()
	}
	w.must(err)
	hostKey, err := w.host.start(listener, sshd.DefaultLimits())
	w.must(err)
	_, w.port, err = net.SplitHostPort(listener.Addr().String())
	w.must(err)
	w.write(".config/pgo/known_hosts", knownhosts.Line([]string{listener.Addr().String()}, hostKey)+"\n")
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// write makes a file at home.
func (w *world) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.home, name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o700))
	w.must(os.WriteFile(path, []byte(text), 0o600))
}

func (w *world) read(name string) string {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.home, name))
	w.must(err)
	return string(text)
}

// command returns a pgoctl that runs at home.
func (w *world) command(args ...string) *exec.Cmd {
	c := exec.Command("pgoctl", append([]string{"-p", w.port}, args...)...)
	c.Dir, c.Env = w.home, w.env
	return c
}

// terminal is a real one, with a program that runs on it.
type terminal struct {
	*os.File
	t       *testing.T
	program *exec.Cmd
	done    chan struct{} // closed when nothing more will be seen

	mu   sync.Mutex // guards what follows
	seen bytes.Buffer
	read int // how much of seen, by sees
	more chan struct{}
}

// sit runs a program on a terminal of 100 columns and 30 rows. A stream that is already set
// stays.
func sit(t *testing.T, program *exec.Cmd) *terminal {
	t.Helper()
	file, err := pty.StartWithSize(program, &pty.Winsize{Cols: 100, Rows: 30})
	if err != nil {
		t.Fatal(err)
	}
	s := &terminal{File: file, t: t, program: program, done: make(chan struct{}), more: make(chan struct{}, 1)}
	t.Cleanup(func() {
		_ = program.Process.Kill()
		<-s.done
		file.Close()
	})
	go func() {
		defer close(s.done)
		buf := make([]byte, 4096)
		for {
			n, err := file.Read(buf)
			s.mu.Lock()
			s.seen.Write(buf[:n])
			s.mu.Unlock()
			if err != nil { // EIO: nobody has it open any more
				return
			}
			select {
			case s.more <- struct{}{}:
			default:
			}
		}
	}()
	return s
}

// sees waits for a text that was not seen yet.
func (s *terminal) sees(text string) {
	s.t.Helper()
	late := time.After(patience)
	for {
		s.mu.Lock()
		fresh := s.seen.Bytes()[s.read:]
		i := bytes.Index(fresh, []byte(text))
		if i >= 0 {
			s.read += i + len(text)
		}
		shown := string(fresh[:min(len(fresh), 2000)])
		s.mu.Unlock()
		if i >= 0 {
			return
		}
		select {
		case <-s.more:
		case <-s.done:
			if s.mu.Lock(); bytes.Contains(s.seen.Bytes()[s.read:], []byte(text)) {
				s.mu.Unlock()
				continue
			}
			s.mu.Unlock()
			s.t.Fatalf("it ended without showing %q; it shows %q", text, shown)
		case <-late:
			s.t.Fatalf("it does not show %q; it shows %q", text, shown)
		}
	}
}

// all returns everything seen from the beginning.
func (s *terminal) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

// types sends keys.
func (s *terminal) types(keys string) {
	s.t.Helper()
	if _, err := s.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// exits waits for the program's end and checks its exit code.
func (s *terminal) exits(want int) {
	s.t.Helper()
	late := time.AfterFunc(patience, func() { _ = s.program.Process.Kill() })
	err := s.program.Wait()
	if !late.Stop() {
		s.t.Fatalf("it does not end; it shows %q", s.all())
	}
	<-s.done
	got := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		if got = exit.ExitCode(); got < 0 {
			got = 128 + int(exit.Sys().(syscall.WaitStatus).Signal())
		}
	} else if err != nil {
		s.t.Fatal(err)
	}
	if got != want {
		s.t.Errorf("the exit code is %d, not %d; it shows %q", got, want, s.all())
	}
}

// settings returns the terminal's settings.
func (s *terminal) settings() unix.Termios {
	s.t.Helper()
	t, err := unix.IoctlGetTermios(int(s.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	return *t
}

// at joins the parts of a target in these tests.
func at(service string, words ...string) []string {
	first, rest := words[0], words[1:]
	return append(strings.Fields("127.0.0.1:"+service+"//"+first), rest...)
}
