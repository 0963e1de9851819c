package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"pgo/internal/filelock"
)

// socketDirMode lets users enter the directory and not list it.
const socketDirMode = 0o711

// socketDir is the directory for the workers' sockets. It is locked as long as this pgod lives, so
// that no other one takes it for one that a killed pgod has left.
type socketDir struct {
	path string
	mu   sync.Mutex // guards held
	held *filelock.Lock
}

// hold creates the directory, unless it is there and held already: somebody, or a cleaner of
// temporary files, may have removed it.
func (d *socketDir) hold() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		if err := os.MkdirAll(d.path, socketDirMode); err != nil {
			return err
		}
		if d.held != nil && isAt(d.held.File(), d.path) {
			return nil
		}
		d.letGo()
		dir, err := lockedDir(d.path, unix.LOCK_SH)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		d.held = dir // unless another pgod has removed it in between
	}
}

// letGo unlocks the directory. The lock is held.
func (d *socketDir) letGo() {
	if d.held != nil {
		d.held.Release()
		d.held = nil
	}
}

// remove removes the directory with the sockets of all workers.
func (d *socketDir) remove(log hclog.Logger) {
	_ = emptySocketDir(d.path, log)
	_ = os.Remove(d.path)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.letGo()
}

// isAt reports whether the open file is what there is at the path.
func isAt(file *os.File, path string) bool {
	opened, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(opened, there)
}

// lockedDir opens and locks a directory.
func lockedDir(path string, how int) (*filelock.Lock, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return filelock.Take(os.NewFile(uintptr(fd), path), how)
}

// RemoveStaleSocketDirs removes the directories for sockets that killed pgods have left below a
// directory: those with such names that are empty, and that no pgod holds.
func RemoveStaleSocketDirs(below string, names *regexp.Regexp) {
	entries, _ := os.ReadDir(below)
	for _, entry := range entries {
		if !names.MatchString(entry.Name()) || !entry.IsDir() {
			continue
		}
		path := filepath.Join(below, entry.Name())
		dir, err := lockedDir(path, unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			continue
		}
		if isAt(dir.File(), path) {
			_ = unix.Rmdir(path) // fails if it is not empty
		}
		dir.Release()
	}
}

// emptySocketDir removes the sockets of all workers.
func emptySocketDir(dir string, log hclog.Logger) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := removeSockets(filepath.Join(dir, entry.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			log.Warn("cannot remove files that a worker's user has left", "error", loggable(err))
		}
	}
	return nil
}

// maxSockets bounds how many files of one worker's directory are removed.
const maxSockets = 1000

// removeSockets removes a worker's directory and the files in it. Its user may have made a tree
// in it, and may still be adding to it: root takes the directory over first, and deeper levels
// stay. Descending into a tree of any depth would need as many open files.
func removeSockets(dir string) error {
	if err := os.Lchown(dir, os.Geteuid(), os.Getegid()); err != nil {
		return err
	}
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer file.Close()
	names, _ := file.Readdirnames(maxSockets)
	for _, name := range names {
		_ = os.Remove(filepath.Join(dir, name)) // what is left is reported below
	}
	if err := os.Remove(dir); err != nil {
		return fmt.Errorf("%s is not empty: remove it by hand: %w", dir, errors.Unwrap(err))
	}
	return nil
}

// discardSockets removes a worker's directory, or renames it: go-plugin would descend into
// whatever it finds in its place.
func discardSockets(dir string) error {
	elsewhere := dir + ".old"
	switch err := os.Rename(dir, elsewhere); {
	case errors.Is(err, os.ErrNotExist):
		return nil // it was done before
	case err != nil:
		return err
	}
	return removeSockets(elsewhere)
}
