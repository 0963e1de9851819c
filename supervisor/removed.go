package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"pgo/internal/config"
)

// removedTime is the time at the end of a removed directory's name. No service's name
// has a capital letter, so that web-2 is not taken for a web that was removed.
const removedTime = "20060102T150405Z"

func (s *Supervisor) dirOf(name string) string { return filepath.Join(s.opts.Dir, "services", name) }
func (s *Supervisor) removedDir() string       { return filepath.Join(s.opts.Dir, "removed") }

// label is what is kept beside a removed directory, out of its owner's reach.
type label struct {
	Source string `json:"source,omitempty"` // see source; empty: not known
}

func labelOf(removed string) string { return removed + ".json" }

// moveAway moves the directory of a service that is taken down to where it is kept, with
// the source that it is of. Root moves the directory itself, and looks at nothing in it.
func (s *Supervisor) moveAway(name, source string, now time.Time) (to string, err error) {
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
	raw, err := json.Marshal(label{source})
	if err == nil {
		err = renameio.WriteFile(labelOf(to), append(raw, '\n'), 0o600, renameio.WithTempDir(s.removedDir()))
	}
	if err != nil {
		return "", fmt.Errorf("cannot note what the service's directory is of: %w", err)
	}
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

// sourceOf is what a removed directory is of; empty: that is not known.
func sourceOf(removed string) (string, error) {
	var is label
	raw, err := os.ReadFile(labelOf(removed))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &is)
	}
	if err != nil {
		return "", fmt.Errorf("cannot read what the removed directory is of: %w", err)
	}
	return is.Source, nil
}

// comeBack gives a service without a directory the one that it had when it was removed
// last, if there is such a thing and it is that user's and of the same source: what
// another repository had running is none of this one's.
func (s *Supervisor) comeBack(service config.Service, user account) error {
	name, dir := service.Name, s.dirOf(service.Name)
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
	was, err := sourceOf(from)
	if err != nil {
		return err
	}
	if was != source(service) {
		log.Warn("the service begins anew: the directory that it had is not of this repository and branch, or that is not known, and stays where it is", "directory", from)
		return nil
	}
	if err := os.Rename(from, dir); err != nil {
		return fmt.Errorf("cannot move the service's directory back: %w", err)
	}
	_ = os.Remove(labelOf(from)) // without a directory it says nothing
	log.Info("the service is back, with the directory that it had", "directory", from)
	return nil
}
