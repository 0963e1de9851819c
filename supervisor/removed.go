package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// serviceName is what a service's directory can be called.
var serviceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// removedTime is the time at the end of a removed directory's name. No service's name
// has a capital letter, so that web-2 is not taken for a web that was removed.
const removedTime = "20060102T150405Z"

func (s *Supervisor) dirOf(name string) string { return filepath.Join(s.opts.Dir, "services", name) }
func (s *Supervisor) removedDir() string       { return filepath.Join(s.opts.Dir, "removed") }

// moveAway moves the directory of a service that is taken down to where it is kept.
// Root moves the directory itself, and looks at nothing in it.
func (s *Supervisor) moveAway(name string, now time.Time) (to string, err error) {
	if err := os.Mkdir(s.removedDir(), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("cannot make the directory for what is removed: %w", err)
	}
	newest, found, err := s.newestRemoved(name)
	if err != nil {
		return "", err
	}
	now = now.UTC().Truncate(time.Second)
	if found && !now.After(newest) { // twice in a second, or the clock was set
		now = newest.Add(time.Second)
	}
	to = s.removedPath(name, now)
	if err := os.Rename(s.dirOf(name), to); err != nil {
		return "", fmt.Errorf("cannot move the service's directory away: %w", err)
	}
	return to, nil
}

func (s *Supervisor) removedPath(name string, at time.Time) string {
	return filepath.Join(s.removedDir(), name+"-"+at.Format(removedTime))
}

// newestRemoved finds when the service was removed last.
func (s *Supervisor) newestRemoved(name string) (newest time.Time, found bool, err error) {
	entries, err := os.ReadDir(s.removedDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return newest, false, fmt.Errorf("cannot look for what was removed: %w", err)
	}
	for _, entry := range entries {
		text, ours := strings.CutPrefix(entry.Name(), name+"-")
		at, err := time.Parse(removedTime, text)
		if ours && err == nil && (!found || at.After(newest)) {
			newest, found = at, true
		}
	}
	return newest, found, nil
}

// comeBack gives a service without a directory the one that it had when it was removed
// last, if there is such a thing and it is that user's.
func (s *Supervisor) comeBack(name string, user account) error {
	dir := s.dirOf(name)
	if err := unix.Lstat(dir, new(unix.Stat_t)); !errors.Is(err, unix.ENOENT) {
		return nil // it has one, or serviceDir will tell
	}
	at, found, err := s.newestRemoved(name)
	if err != nil || !found {
		return err
	}
	from, log := s.removedPath(name, at), s.opts.Logger.With("service", name)
	var info unix.Stat_t
	if err := unix.Lstat(from, &info); err != nil {
		return fmt.Errorf("cannot look at the removed directory: %w", err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR || info.Uid != user.uid {
		log.Warn("the service begins anew: the directory that it had belongs to another user, and stays where it is", "directory", from, "uid", info.Uid)
		return nil
	}
	if err := os.Rename(from, dir); err != nil {
		return fmt.Errorf("cannot move the service's directory back: %w", err)
	}
	log.Info("the service is back, with the directory that it had", "directory", from)
	return nil
}
