package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pgo/internal/dropin"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

const (
	// settle is how long the files must be quiet before they are read: an editor writes in
	// several steps.
	settle = 300 * time.Millisecond
	// restless is after how many settle times they are read even if they are not quiet.
	restless = 10
	// lookAnyway is how often they are looked at without an event: a file server does not report
	// what others write.
	lookAnyway = time.Minute
)

// watcher reports when the local files of the configuration may have changed. It watches what
// their names lead to, not just their directories. It never reads the files: the reloader does,
// and says which ones count.
type watcher struct {
	main   string // the configuration file; empty: there is none on this host
	settle time.Duration
	log    hclog.Logger

	retold chan struct{} // holds one when files was set

	mu    sync.Mutex // guards files and since
	files []string   // the other files that count
	since time.Time  // before they were read

	// For run alone.
	notify  *fsnotify.Watcher // nil: there are no events
	seen    sight
	watched map[string]fileID // directories, with their identity
	changed time.Time         // the first change that was not reported yet
	timer   *time.Timer       // fires when it should be
}

func newWatcher(mainFile string, log hclog.Logger) *watcher {
	w := &watcher{main: mainFile, settle: settle, log: log, retold: make(chan struct{}, 1), watched: map[string]fileID{}}
	w.timer = time.NewTimer(0)
	w.timer.Stop()
	return w
}

// tell says which files were read, and when reading began.
func (w *watcher) tell(files []string, since time.Time) {
	w.mu.Lock()
	w.files, w.since = files, since
	w.mu.Unlock()
	select {
	case w.retold <- struct{}{}:
	default:
	}
}

// run watches until ctx ends. changes has room for one.
func (w *watcher) run(ctx context.Context, changes chan<- struct{}) {
	var events chan fsnotify.Event
	var failures chan error
	if notify, err := fsnotify.NewWatcher(); err == nil {
		w.notify, events, failures = notify, notify.Events, notify.Errors
		defer func() { _ = notify.Close() }()
	} else {
		w.log.Warn("cannot watch the configuration: it is checked periodically", "every", lookAnyway, "error", err)
	}
	ticker := time.NewTicker(lookAnyway)
	defer ticker.Stop()
	defer w.timer.Stop()
	for w.look(); ; {
		select {
		case e := <-events:
			if w.seen.concerned(filepath.Clean(e.Name)) {
				w.look()
			}
		case err := <-failures: // the kernel's queue overflowed: anything may have changed
			w.log.Warn("missed changes of the configuration: looking at it again", "error", err)
			w.look()
		case <-w.retold:
			w.look()
		case <-ticker.C:
			w.look()
		case <-w.timer.C:
			w.changed = time.Time{}
			select {
			case changes <- struct{}{}:
			default:
			}
		case <-ctx.Done():
			return
		}
	}
}

// look looks at the files, and arranges a report if they differ from the last time.
func (w *watcher) look() {
	w.mu.Lock()
	files, since := w.files, w.since
	w.mu.Unlock()
	now := w.settled(files)
	if !w.seen.newer(now, since) {
		w.seen = now
		return
	}
	w.seen = now
	if w.changed.IsZero() {
		w.changed = time.Now()
	}
	w.timer.Reset(max(0, min(w.settle, time.Until(w.changed.Add(restless*w.settle)))))
}

// settled returns what is seen once every directory on the way to it is watched.
func (w *watcher) settled(files []string) sight {
	now := see(w.main, files)
	for range 10 {
		w.watch(now.dirs)
		again := see(w.main, files)
		if maps.Equal(now.prints, again.prints) {
			break
		}
		now = again
	}
	return now
}

// watch watches these directories, as they are now, and no others.
func (w *watcher) watch(dirs map[string]bool) {
	if w.notify == nil {
		return
	}
	for dir, id := range w.watched {
		if now, err := identify(dir); !dirs[dir] || err != nil || now != id {
			_ = w.notify.Remove(dir) // it may be gone already
			delete(w.watched, dir)
		}
	}
	for dir := range dirs {
		if _, done := w.watched[dir]; done {
			continue
		}
		id, err := identify(dir)
		if err == nil {
			err = w.notify.Add(dir)
		}
		if err != nil && !os.IsNotExist(err) {
			w.log.Warn("cannot watch the configuration: it is checked periodically", "every", lookAnyway, "directory", dir, "error", err)
			w.watched[dir] = id // warns once
		} else if err == nil {
			w.watched[dir] = id
		}
	}
}

// sight is what can be seen of the configuration's files without reading them.
type sight struct {
	prints map[string]string    // the state of each, in words that serve only for comparison
	times  map[string]time.Time // when each was last changed
	names  map[string]bool      // that lead to them: an event about one calls for another look
	more   string               // the directory of more files, without symlinks; empty: there is none
	dirs   map[string]bool      // the directories with those names
}

// see looks at the main file, those in its drop-in directory, and others.
func see(mainFile string, files []string) sight {
	s := sight{prints: map[string]string{}, times: map[string]time.Time{}, names: map[string]bool{}, dirs: map[string]bool{}}
	if mainFile != "" {
		s.add(mainFile)
		s.addMore(dropin.Dir(mainFile))
	}
	for _, file := range files {
		s.add(file)
	}
	return s
}

// add adds a file.
func (s *sight) add(path string) {
	if _, done := s.prints[path]; done {
		return
	}
	steps := s.lead(path)
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		s.prints[path] = fmt.Sprint(steps, err)
		return
	}
	s.times[path] = time.Unix(stat.Ctim.Unix())
	s.prints[path] = fmt.Sprint(steps, stat.Dev, stat.Ino, stat.Size, stat.Mode, stat.Mtim, stat.Ctim)
}

// addMore adds the directory of more files. Only its content counts.
func (s *sight) addMore(dir string) {
	s.lead(dir)
	var list []string
	entries, err := os.ReadDir(dir)
	if more, cannot := filepath.EvalSymlinks(dir); err == nil && cannot == nil {
		s.more, s.dirs[more] = more, true
	}
	for _, entry := range entries {
		if dropin.Counts(entry.Name()) {
			list = append(list, entry.Name())
			s.add(filepath.Join(dir, entry.Name()))
		}
	}
	if os.IsNotExist(err) {
		err = nil
	}
	s.prints[dir] = fmt.Sprint(list, err)
}

// lead records the names that lead to a path, and returns them.
func (s *sight) lead(path string) []string {
	steps := trace(path)
	for _, step := range steps {
		s.names[step], s.dirs[filepath.Dir(step)] = true, true
	}
	return steps
}

// concerned reports whether an event about the name may matter.
func (s *sight) concerned(name string) bool {
	return s.names[name] || s.more != "" && filepath.Dir(name) == s.more && dropin.Counts(filepath.Base(name))
}

// newer reports whether the configuration has changed between two sights. What is seen for the
// first time counts as changed if it changed since it was read.
func (s *sight) newer(now sight, since time.Time) bool {
	for path, print := range now.prints {
		before, known := s.prints[path]
		switch {
		case known && before != print:
			return true
		case !known && !since.IsZero() && !now.times[path].Before(since.Add(-tick)):
			return true
		}
	}
	return false // what is no longer looked at has gone with a reload, or is in the list
}

// writtenSince reports whether one of the files was changed at that time or later, or so shortly
// before that whoever changes it may not be done: opening a file often empties it. A time in the
// future is of another clock, a file server's, and says nothing.
func writtenSince(since time.Time, mainFile string, files []string) bool {
	for _, changed := range see(mainFile, files).times {
		if !changed.Before(since.Add(-2*tick)) && !changed.After(time.Now()) {
			return true
		}
	}
	return false
}

// tick is the longest time between two of the kernel's clock ticks: a change has the time of the
// last one.
const tick = 10 * time.Millisecond

// maxLinks is how many symlinks the kernel follows.
const maxLinks = 40

// trace returns each name that is looked up to find what path leads to, in directories whose own
// names have no symlinks; the last may not exist.
func trace(path string) []string {
	var steps []string
	at, rest, links := "/", strings.Split(path, "/"), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		step := filepath.Join(at, name)
		steps = append(steps, step)
		target, err := os.Readlink(step)
		switch {
		case err != nil && !isThere(step):
			return steps
		case err != nil: // not a symlink
			at = step
			continue
		case filepath.IsAbs(target):
			at = "/"
		}
		if links++; links > maxLinks {
			return steps
		}
		rest = slices.Concat(strings.Split(target, "/"), rest)
	}
	return steps
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// fileID identifies the file that a path leads to.
type fileID struct{ dev, inode uint64 }

func identify(path string) (fileID, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return fileID{}, err
	}
	return fileID{stat.Dev, stat.Ino}, nil
}
