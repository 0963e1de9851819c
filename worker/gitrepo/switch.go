package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// InTheWayError says that the commit has files where the checkout has something that git does not
// track. Nothing was written.
type InTheWayError struct {
	// Paths are the obstacles, relative to the checkout.
	Paths []string
}

func (e *InTheWayError) Error() string {
	const most = 5
	var shown []string
	for _, p := range e.Paths[:min(most, len(e.Paths))] {
		shown = append(shown, fmt.Sprintf("%q", p))
	}
	if more := len(e.Paths) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return "the checkout has untracked files where the commit has files: " + strings.Join(shown, ", ") +
		"; move them away, or take them out of the commit"
}

// Switch brings the checkout in dir from the commits in from, any mix of them, to the commit to:
// it writes and removes only the files that differ between to and any of from. Without from,
// those are all files of to.
//
// It never touches files that git does not track, nor directories that still hold something; if
// one is where a file must go, the error is an InTheWayError, unless it has that file's content
// already. It overwrites a file that was changed in the checkout if the file differs between the
// commits.
//
// Run again after a crash, it ends the same. Next to the checkout, in dir.tracked, it records
// which files in there are git's: once that record exists, it counts instead of what the commits
// in from have. So from may name a commit that was never written completely, or that is lost
// since the repository had to be rebuilt.
func (r checkouts) Switch(ctx context.Context, from []Hash, to Hash, dir string) error {
	s, err := r.prepare(ctx, from, to, dir)
	if err != nil {
		return err
	}
	defer s.close()
	record := trackedBeside(dir)
	if err := record.write(slices.Concat(s.tracked.names(), s.want.files())); err != nil {
		return err
	}
	if err := s.remove(ctx); err != nil {
		return err
	}
	if err := s.write(ctx); err != nil {
		return err
	}
	if err := flushFilesystem(dir); err != nil {
		return err
	}
	return record.write(s.want.files())
}

// CanSwitch returns the error that Switch would begin with, for example an InTheWayError. It
// leaves the checkout as it is.
func (r checkouts) CanSwitch(ctx context.Context, from []Hash, to Hash, dir string) error {
	s, err := r.prepare(ctx, from, to, dir)
	if err != nil {
		return err
	}
	s.close()
	return nil
}

// prepare returns a switcher with nothing in its way.
func (r checkouts) prepare(ctx context.Context, from []Hash, to Hash, dir string) (*switcher, error) {
	record := trackedBeside(dir)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.Remove(string(record)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	c, err := r.openCheckout(dir, to)
	if err != nil {
		return nil, err
	}
	s, err := newSwitcher(c, from, to, record)
	if err == nil {
		err = s.lookAhead(ctx)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return s, nil
}

type switcher struct {
	*checkout
	plan
}

// plan is what a switch does.
type plan struct {
	want    tree
	tracked names // the files in the checkout that are git's
	removes []string
	writes  []string // the others stay as they are on disk
}

func newSwitcher(c *checkout, from []Hash, to Hash, record trackedFile) (*switcher, error) {
	p, err := newPlan(c.store, from, to, record)
	return &switcher{checkout: c, plan: p}, err
}

func newPlan(store objectStore, from []Hash, to Hash, record trackedFile) (p plan, err error) {
	if p.want, err = readTree(store, to); err != nil {
		return p, err
	}
	tracked, known, err := record.read()
	if err != nil {
		return p, err
	}
	same := map[string]int{} // how many of from have a file as to has it
	for _, commit := range from {
		old, err := readTree(store, commit)
		if known && (errors.Is(err, ErrNoCommit) || errors.Is(err, ErrDamaged)) {
			continue // then all files count as different
		}
		if err != nil {
			return p, err
		}
		for _, name := range old.files() {
			if !known {
				tracked[name] = true
			}
			if old[name] == p.want[name] {
				same[name]++
			}
		}
	}
	p.tracked = tracked
	for _, name := range tracked.names() {
		if _, ok := p.want.file(name); !ok {
			p.removes = append(p.removes, name)
		}
	}
	for _, name := range p.want.files() {
		if len(from) == 0 || same[name] < len(from) {
			p.writes = append(p.writes, name)
		}
	}
	return p, nil
}

// lookAhead finds what is in the way before anything is written, and drops from the files to
// write those that are there already.
func (s *switcher) lookAhead(ctx context.Context) error {
	inTheWay := names{}
	var writes []string
	for _, name := range s.writes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		done, err := s.has(name, s.want[name])
		if err != nil {
			return err
		}
		if done {
			continue
		}
		writes = append(writes, name)
		obstacle, err := s.obstacle(name)
		if err != nil {
			return err
		}
		if obstacle != "" {
			inTheWay[obstacle] = true
		}
	}
	s.writes = writes
	if len(inTheWay) > 0 {
		return &InTheWayError{Paths: inTheWay.names()}
	}
	return s.mayWrite()
}

// mayWrite finds a directory that must change and cannot: one that the engine made, to mount it,
// is root's.
func (s *switcher) mayWrite() error {
	changes := slices.Clone(s.writes)
	for _, name := range s.removes {
		if info, err := s.lstat(name); err != nil {
			return err
		} else if info != nil {
			changes = append(changes, name)
		}
	}
	asked := names{}
	for _, name := range changes {
		dir, err := s.existingAbove(name)
		if err != nil {
			return err
		}
		if asked[dir] {
			continue
		}
		asked[dir] = true
		d, err := s.root.Open(dir)
		if err == nil {
			err = unix.Faccessat(int(d.Fd()), ".", unix.W_OK|unix.X_OK, 0)
			_ = d.Close()
		}
		if errors.Is(err, fs.ErrPermission) {
			return problem(nil, "cannot change %q: its directory %q belongs to another user, perhaps because a container created it; chown it to the service's user", name, dir)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// existingAbove returns the nearest existing directory above a path.
func (s *switcher) existingAbove(name string) (string, error) {
	for {
		name = path.Dir(name)
		if ok, err := s.isRealDir(name); err != nil || ok {
			return name, err
		}
	}
}

// obstacle returns the path that keeps a file from being written, or "".
func (s *switcher) obstacle(name string) (string, error) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		info, err := s.lstat(dir)
		if err != nil {
			return "", err
		}
		if info != nil && !info.IsDir() && !s.tracked[dir] {
			return dir, nil
		}
	}
	info, err := s.lstat(name)
	if err != nil || info == nil {
		return "", err
	}
	if info.IsDir() {
		return s.untrackedIn(name)
	}
	if s.tracked[name] {
		return "", nil
	}
	if same, err := s.sameContent(name, info, s.want[name]); err != nil || same {
		return "", err
	}
	return name, nil
}

// untrackedIn returns the first thing in a directory, other than directories, that is not
// tracked, or "".
func (s *switcher) untrackedIn(dir string) (string, error) {
	entries, err := s.list(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			if found, err := s.untrackedIn(name); err != nil || found != "" {
				return found, err
			}
		} else if !s.tracked[name] {
			return name, nil
		}
	}
	return "", nil
}

// remove removes the files that are no longer tracked, and the directories that this leaves
// empty, unless they will be needed.
func (s *switcher) remove(ctx context.Context) error {
	for _, name := range s.removes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		info, err := s.lstat(name)
		if err != nil {
			return err
		}
		if info == nil || info.IsDir() {
			continue // somebody else's doing
		}
		if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for dir := path.Dir(name); dir != "." && !s.want.isDir(dir); dir = path.Dir(dir) {
			if !s.removeDir(dir) {
				break
			}
		}
	}
	return nil
}

func (s *switcher) write(ctx context.Context) error {
	for _, name := range s.writes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := s.makeDir(path.Dir(name)); err != nil {
			return err
		}
		if info, err := s.lstat(name); err != nil {
			return err
		} else if info != nil && info.IsDir() {
			if err := s.removeEmpty(name); err != nil {
				return s.cannotWrite(name, err)
			}
		}
		if err := s.checkout.write(name, s.want[name]); err != nil {
			return err
		}
	}
	return nil
}

// removeEmpty removes a directory that holds nothing but directories.
func (s *switcher) removeEmpty(dir string) error {
	entries, err := s.list(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := s.removeEmpty(path.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	delete(s.realDirs, dir)
	return s.root.Remove(dir)
}
