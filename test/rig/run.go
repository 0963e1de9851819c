package rig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"pgo/internal/filelock"
)

// namePrefix begins the name of all that any run ever makes on the machine.
const namePrefix = "pgo-t-"

// run is the stay of one test process on this machine. Its directory is locked for as long as
// the process lives and has a note of everything that must be removed, so that a later run can
// clear up after one that was killed.
type run struct {
	name string
	dir  string
	lock *filelock.Lock
}

// kind is a kind of thing that outlives the process which made it.
type kind string

const (
	kindProject kind = "project" // all of one compose project
	kindImage   kind = "image"
	kindUser    kind = "user"
	kindEngine  kind = "engine" // by its directory
	kindDisk    kind = "disk"   // by where it is mounted
)

// removers are in the order in which things are removed: an image after the
// containers that use it, a disk after the engine that uses it, a user last,
// since containers may run under its uid.
var removers = []struct {
	kind   kind
	remove func(name string) error
}{
	{kindEngine, removeEngine},
	{kindDisk, removeMounts},
	{kindProject, removeProject},
	{kindImage, removeImage},
	{kindUser, removeUser},
}

// theRun is begun by the first rig of the process and ended by Main.
var theRun = sync.OnceValues(beginRun)

// Main runs a package's tests, or whatever else m is, and then ends the run:
//
//	func TestMain(m *testing.M) { rig.Main(m) }
func Main(m interface{ Run() int }) {
	code := m.Run()
	if err := endRun(); err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		code = 1
	}
	os.Exit(code)
}

// beginRun clears up after dead runs and makes the directory of this one.
func beginRun() (*run, error) {
	unlock, err := lockMachine(beginOrEnd)
	if err != nil {
		return nil, err
	}
	defer unlock()
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), namePrefix+"????"))
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if err := sweep(dir); err != nil {
			return nil, fmt.Errorf("cannot clear up after a run that was killed (%s): %w", dir, err)
		}
	}
	name := fmt.Sprintf("%s%04x", namePrefix, rand.N(1<<16))
	r := &run{name: name, dir: filepath.Join(os.TempDir(), name)}
	if err := errors.Join(os.Mkdir(r.dir, 0o755), os.Chmod(r.dir, 0o755), os.Mkdir(r.notes(), 0o700)); err != nil {
		return nil, err
	}
	r.lock, err = lockFile(r.lockName(), syscall.LOCK_EX)
	return r, err
}

// endRun removes what belongs to the whole run: its images and its directory.
func endRun() error {
	if rigs.Load() == 0 {
		return nil // nothing was begun
	}
	run, err := theRun()
	if err != nil {
		return err
	}
	unlock, err := lockMachine(beginOrEnd)
	if err != nil {
		return err
	}
	defer unlock()
	defer run.lock.Release()
	return run.clear()
}

// sweep clears a run's things away unless its process still lives.
func sweep(dir string) error {
	dead := &run{name: filepath.Base(dir), dir: dir}
	lock, err := lockFile(dead.lockName(), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Release()
	return dead.clear()
}

// clear removes everything that is noted and then the notes.
func (r *run) clear() error {
	entries, err := os.ReadDir(r.notes())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var errs []error
	for _, remover := range removers {
		for _, entry := range entries {
			if kind, name := readNote(entry.Name()); kind == remover.kind {
				errs = append(errs, r.remove(kind, name))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.RemoveAll(r.dir)
}

// note writes down that the thing must be removed one day.
func (r *run) note(kind kind, name string) error {
	return os.WriteFile(r.noteName(kind, name), nil, 0o600)
}

// remove removes the thing and its note. It touches nothing that does not
// carry the run's name, whatever a note says.
func (r *run) remove(kind kind, name string) error {
	if !strings.Contains(name, r.name) {
		return fmt.Errorf("%s %s does not belong to %s", kind, name, r.name)
	}
	for _, remover := range removers {
		if remover.kind != kind {
			continue
		}
		if err := remover.remove(name); err != nil {
			return fmt.Errorf("cannot remove %s %s: %w", kind, name, err)
		}
	}
	// The same image may have been noted twice.
	if err := os.Remove(r.noteName(kind, name)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (r *run) notes() string    { return filepath.Join(r.dir, "notes") }
func (r *run) lockName() string { return filepath.Join(r.dir, "lock") }

// noteName returns the file name of a thing's note: an image's name may have a "/", a file's
// cannot.
func (r *run) noteName(kind kind, name string) string {
	return filepath.Join(r.notes(), string(kind)+"="+strings.ReplaceAll(name, "/", "="))
}

func readNote(file string) (kind, string) {
	k, name, _ := strings.Cut(file, "=")
	return kind(k), strings.ReplaceAll(name, "=", "/")
}

// What only one test process of the machine may do at a time. The second is
// done inside the first when a dead run's users are removed.
const (
	beginOrEnd  = "runs"  // begin or end a run
	changeUsers = "users" // change /etc/passwd
)

// lockMachine waits until no other test process does the same.
func lockMachine(what string) (unlock func(), err error) {
	lock, err := lockFile(filepath.Join(os.TempDir(), namePrefix+what+".lock"), syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	return lock.Release, nil
}

// lockFile locks a file until the result is released or the process ends.
func lockFile(name string, how int) (*filelock.Lock, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return filelock.Take(file, how)
}
