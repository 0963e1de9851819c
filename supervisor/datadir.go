package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"pgo/internal/atomicfile"
	"pgo/internal/config"
	"pgo/internal/filelock"
)

// removedTime is the time at the end of a removed directory's name. A service's name has no
// capital letters, so web-2 is not mistaken for a removed web.
const removedTime = "20060102T150405Z"

// dataDir is the directory for pgod's persistent data, locked for this process. services/<name>
// belongs to the service's user; removed/ has the directories of services that are no longer
// configured.
type dataDir struct {
	path string
	log  hclog.Logger
	lock *filelock.Lock // held as long as the process lives
}

// openDataDir creates the directory and locks it.
func openDataDir(path string, log hclog.Logger) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	if err := checkDir(path); err != nil {
		return nil, err
	}
	lock, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	return &dataDir{path, log, lock}, nil
}

// close releases the directory for another pgod.
func (d *dataDir) close() { d.lock.Release() }

// checkDir rejects a directory in which another user could replace the host key or have root
// follow a symlink: in /tmp anyone may create it first.
func checkDir(dir string) error {
	var itself, leadsTo unix.Stat_t
	if err := errors.Join(unix.Lstat(dir, &itself), unix.Stat(dir, &leadsTo)); err != nil {
		return fmt.Errorf("cannot look at %s: %w", dir, err)
	}
	me := uint32(os.Geteuid())
	if itself.Uid != me || leadsTo.Uid != me || leadsTo.Mode&0o022 != 0 {
		return fmt.Errorf("cannot trust %s: it must belong to root, and nobody else may write to it; chown and chmod it, or name another with -d", dir)
	}
	return nil
}

// lockDir keeps a second pgod out of the directory.
func lockDir(dir string) (*filelock.Lock, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	lock, err := filelock.Take(file, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("another pgod uses %s: stop it, or give this one a directory of its own with -d", dir)
	}
	return lock, err
}

func (d *dataDir) services() string           { return filepath.Join(d.path, "services") }
func (d *dataDir) service(name string) string { return filepath.Join(d.services(), name) }
func (d *dataDir) removed() string            { return filepath.Join(d.path, "removed") }

// label is the data kept next to a removed directory, out of its owner's reach.
type label struct {
	Source string `json:"source,omitempty"` // see source; empty: not known
}

func labelOf(removed string) string { return removed + ".json" }

// moveAway moves the directory of a service that was taken down to removed/, and records the
// service's source. Root only renames the directory, and reads nothing in it.
func (d *dataDir) moveAway(name, source string, now time.Time) (to string, err error) {
	if err := os.Mkdir(d.removed(), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("cannot create the directory for removed services: %w", err)
	}
	newest, found, err := d.newestRemoved(name)
	if err != nil {
		return "", err
	}
	now = now.UTC().Truncate(time.Second)
	if found && !now.After(newest) { // twice in a second, or the clock was set back
		now = newest.Add(time.Second)
	}
	to = d.removedPath(name, now)
	raw, err := json.Marshal(label{source})
	if err == nil {
		err = atomicfile.Replace(labelOf(to), append(raw, '\n'), 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("cannot record the source of the service's directory: %w", err)
	}
	if err := os.Rename(d.service(name), to); err != nil {
		return "", fmt.Errorf("cannot move the service's directory away: %w", err)
	}
	return to, nil
}

func (d *dataDir) removedPath(name string, at time.Time) string {
	return filepath.Join(d.removed(), name+"-"+at.Format(removedTime))
}

// newestRemoved returns when the service was last removed.
func (d *dataDir) newestRemoved(name string) (newest time.Time, found bool, err error) {
	entries, err := os.ReadDir(d.removed())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return newest, false, fmt.Errorf("cannot list the removed services: %w", err)
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

// sourceOf returns the source of a removed directory, empty if it is not known.
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
		return "", fmt.Errorf("cannot read the source of the removed directory: %w", err)
	}
	return is.Source, nil
}

// comeBack restores the directory of a service that has none from its last removal, if there is
// one and it has the same user and source: what another repository deployed is not this
// service's.
func (d *dataDir) comeBack(service config.Service, user account) error {
	name, dir := service.Name, d.service(service.Name)
	if err := unix.Lstat(dir, new(unix.Stat_t)); !errors.Is(err, unix.ENOENT) {
		return nil // it has one, or handDir reports what is wrong
	}
	at, found, err := d.newestRemoved(name)
	if err != nil || !found {
		return err
	}
	from, log := d.removedPath(name, at), d.log.With("service", name)
	var info unix.Stat_t
	if err := unix.Lstat(from, &info); err != nil {
		return fmt.Errorf("cannot look at the removed directory: %w", err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR || info.Uid != user.uid {
		log.Warn("the service starts afresh: its earlier directory belongs to another user, and stays where it is", "directory", from, "uid", info.Uid)
		return nil
	}
	was, err := sourceOf(from)
	if err != nil {
		return err
	}
	if was != source(service) {
		log.Warn("the service starts afresh: its earlier directory is of another repository or branch, or of an unknown one, and stays where it is", "directory", from)
		return nil
	}
	if err := os.Rename(from, dir); err != nil {
		return fmt.Errorf("cannot move the service's directory back: %w", err)
	}
	_ = os.Remove(labelOf(from)) // a label without a directory is useless
	log.Info("the service is back, with its earlier directory", "directory", from)
	return nil
}

// handDir creates a worker's directory if it is missing, and makes the worker's user its owner.
func handDir(dir string, user account) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) && user.uid != 0 && ownedBy(dir, 0) && unix.Rmdir(dir) == nil {
		// It was empty: a pgod that was killed had not handed it over yet.
		err = os.Mkdir(dir, 0o700)
	}
	if err == nil {
		err = os.Lchown(dir, int(user.uid), int(user.gid))
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("cannot create a worker's directory: %w", err)
	}
	var info unix.Stat_t
	if err := unix.Lstat(dir, &info); err != nil {
		return fmt.Errorf("cannot look at a worker's directory: %w", err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR || info.Uid != user.uid {
		return fmt.Errorf("%s belongs to uid %d and not to its own user: hand over that uid's files with `chown -R --from=%d %d:%d %s`, or move it away",
			dir, info.Uid, info.Uid, user.uid, user.gid, dir)
	}
	return nil
}

// place is a directory and what was there when a worker got it.
type place struct {
	path string
	was  os.FileInfo // nil: not known
}

func placeOf(dir string) place {
	was, _ := os.Lstat(dir)
	return place{dir, was}
}

// lost reports whether the directory was removed since, moved away or replaced. No other has its
// number as long as somebody works in it.
func (p place) lost() bool {
	if p.was == nil {
		return false
	}
	is, err := os.Lstat(p.path)
	return errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(p.was, is)
}

// absent reports whether there is nothing of that name.
func absent(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}

func ownedBy(dir string, uid uint32) bool {
	var info unix.Stat_t
	return unix.Lstat(dir, &info) == nil && info.Uid == uid
}
