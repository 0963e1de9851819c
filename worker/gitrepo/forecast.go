package gitrepo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// Lookup looks at a path of this host, without following a symbolic link there.
type Lookup interface {
	// Readlink returns the target of the symbolic link at path; "" if there is none.
	Readlink(path string) (string, error)
	// Kind returns the type of what is at path, fs.ModeDir for example and 0 for a regular file,
	// and whether anything is there.
	Kind(path string) (kind fs.FileMode, there bool, err error)
}

// Forecast is the Lookup of the checkout as Switch will leave it: what it writes, and everything
// else as it is now. It changes nothing.
type Forecast struct {
	now     Lookup
	dir     string // the checkout, without symbolic links on the way to it
	store   objectStore
	written map[string]entry // what Switch writes, with the directories above
	going   names            // the files that it removes
	empty   map[string]bool  // directories of which nothing will be left
}

// Forecast returns what Switch with the same arguments would lead to. now looks at the present
// state. The caller closes the Forecast.
func (r checkouts) Forecast(from []Hash, to Hash, dir string, now Lookup) (*Forecast, error) {
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		real, err = dir, nil
	}
	if err != nil {
		return nil, err
	}
	f := &Forecast{now: now, dir: real, store: r.objects.store(), written: map[string]entry{}, going: names{}, empty: map[string]bool{}}
	p, err := newPlan(f.store, from, to, trackedBeside(dir))
	if err != nil {
		f.Close()
		return nil, err
	}
	for _, name := range p.removes {
		f.going[name] = true
	}
	for _, name := range p.writes {
		for ; name != "."; name = filepath.Dir(name) {
			f.written[name] = p.want[name]
		}
	}
	return f, nil
}

// Close releases the repository.
func (f *Forecast) Close() { f.store.close() }

// Readlink implements Lookup. It resolves no links above the path.
func (f *Forecast) Readlink(path string) (string, error) {
	name, inside := f.inside(path)
	if !inside {
		return f.now.Readlink(path)
	}
	switch e, found := f.written[name]; {
	case found && e.mode == filemode.Symlink:
		return readLink(f.store, e.hash)
	case found, f.going[name]:
		return "", nil
	}
	if direct, err := f.direct(name); err != nil || !direct {
		return "", err
	}
	return f.now.Readlink(path)
}

// Kind implements Lookup.
func (f *Forecast) Kind(path string) (kind fs.FileMode, there bool, err error) {
	name, inside := f.inside(path)
	if !inside {
		return f.now.Kind(path)
	}
	switch e, found := f.written[name]; {
	case found && e.mode == filemode.Dir:
		return fs.ModeDir, true, nil
	case found && e.mode == filemode.Symlink:
		return fs.ModeSymlink, true, nil
	case found:
		return 0, true, nil
	case f.going[name]:
		return 0, false, nil
	}
	if direct, err := f.direct(name); err != nil || !direct {
		return 0, false, err
	}
	kind, there, err = f.now.Kind(path)
	if err == nil && there && kind.IsDir() && f.emptied(name) {
		return 0, false, nil
	}
	return kind, there, err
}

// direct reports whether what is at a path in the checkout now will still be reached there:
// everything above it is a directory, and stays one. What is behind a symbolic link is not in the
// checkout.
func (f *Forecast) direct(name string) (bool, error) {
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		if e, found := f.written[name[:i]]; found && e.mode != filemode.Dir {
			return false, nil
		}
		kind, there, err := f.now.Kind(filepath.Join(f.dir, name[:i]))
		if err != nil || !there || !kind.IsDir() {
			return false, err
		}
	}
	return true, nil
}

// emptied reports whether a directory goes with the last of its files. A directory that cannot be
// read holds something of another user's.
func (f *Forecast) emptied(dir string) bool {
	if empty, known := f.empty[dir]; known {
		return empty
	}
	f.empty[dir] = f.holdsGoing(dir) && !f.holdsMore(dir)
	return f.empty[dir]
}

// holdsGoing reports whether there is a file below a directory that git will remove.
func (f *Forecast) holdsGoing(dir string) bool {
	for name := range f.going {
		if !strings.HasPrefix(name, dir+"/") {
			continue
		}
		if _, there, err := f.now.Kind(filepath.Join(f.dir, name)); there && err == nil {
			return true
		}
	}
	return false
}

// holdsMore reports whether something in a directory stays.
func (f *Forecast) holdsMore(dir string) bool {
	entries, err := os.ReadDir(filepath.Join(f.dir, dir))
	if err != nil {
		return true
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if !f.going[name] && !(e.IsDir() && f.emptied(name)) {
			return true
		}
	}
	return false
}

// inside returns a path as git writes it, if it is in the checkout.
func (f *Forecast) inside(path string) (name string, inside bool) {
	return strings.CutPrefix(path, f.dir+"/")
}
