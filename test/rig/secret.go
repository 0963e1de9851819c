package rig

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Hunt looks for secrets where none may be. It watches the command lines and environments of
// pgod, of all its descendants and of everything that runs as a service's user from now on,
// often enough to see even short commands; Ends looks through what stays.
type Hunt struct {
	pgod    *Pgod
	users   []*User
	secrets []string
	stop    chan struct{}
	done    sync.WaitGroup
	looks   atomic.Int64
	found   map[string]bool // set by the watching goroutine, read after it is done
}

// Hunt starts to look for the secrets.
func (p *Pgod) Hunt(secrets ...string) *Hunt {
	h := &Hunt{pgod: p, secrets: secrets, stop: make(chan struct{}), found: map[string]bool{}}
	for _, service := range p.services {
		h.users = append(h.users, service.User)
	}
	h.done.Go(h.watch)
	p.rig.t.Cleanup(h.halt)
	return h
}

// Ends stops the watch and reports each place where a secret was or is: an
// argument or an environment, pgod's log, a file that a stranger can read in
// the test's directory or among pgod's sockets.
func (h *Hunt) Ends() {
	t := h.pgod.rig.t
	t.Helper()
	h.halt()
	for place := range h.found {
		t.Errorf("a secret is in %s", place)
	}
	for _, secret := range h.secrets {
		if strings.Contains(h.pgod.Log(), secret) {
			t.Errorf("a secret is in pgod's log")
		}
		for _, dir := range []string{h.pgod.rig.Dir, "/run/pgo"} {
			files, err := readableByAll(dir, secret)
			if err != nil {
				t.Errorf("cannot look for secrets in %s: %v", dir, err)
			}
			for _, file := range files {
				t.Errorf("a secret is in %s, which everybody can read", file)
			}
		}
	}
}

func (h *Hunt) halt() {
	select {
	case <-h.stop:
	default:
		close(h.stop)
	}
	h.done.Wait()
}

// watch looks at all processes of interest, again and again.
func (h *Hunt) watch() {
	for {
		if err := h.look(); err != nil {
			h.found[fmt.Sprintf("a place that could not be looked at: %v", err)] = true
		}
		h.looks.Add(1)
		select {
		case <-h.stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (h *Hunt) look() error {
	suspects, err := Family(h.pgod.PID())
	if err != nil {
		return err
	}
	// An orphan is not a descendant any more.
	for _, user := range h.users {
		running, err := user.Processes()
		if err != nil {
			return err
		}
		suspects = append(suspects, running...)
	}
	for _, suspect := range suspects {
		for _, file := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", suspect.PID, file))
			if err != nil && !gone(err) {
				return err
			}
			for _, secret := range h.secrets {
				if bytes.Contains(text, []byte(secret)) {
					h.found[fmt.Sprintf("the %s of process %d (%s, uid %d)", file, suspect.PID, suspect.Name, suspect.UID)] = true
				}
			}
		}
	}
	return nil
}

// nobody is a uid that owns no file.
const nobody = 65534

// readableByAll returns the files below the directory that have the secret and that a user
// without any rights can read, found out by being one.
func readableByAll(dir, secret string) ([]string, error) {
	// The secret comes on stdin: among the arguments the hunt would find it.
	grep := exec.Command("grep", "--recursive", "--no-messages", "--files-with-matches", "--text", "--fixed-strings", "--file=-", "--", filepath.Clean(dir))
	grep.Stdin = strings.NewReader(secret)
	grep.Dir = "/"
	grep.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, Groups: []uint32{}}}
	found, err := grep.Output()
	// 1: nowhere; 2: something could not be read, which is usual here.
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() <= 2 && exit.Exited() {
		err = nil
	}
	return strings.Fields(string(found)), err
}
