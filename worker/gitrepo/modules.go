package gitrepo

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing"
)

// modules is the submodules that are here: each commit that is complete here, with its place.
type modules map[Hash]string

func (m modules) have(commit Hash) bool { return m[commit] != "" }

// commits returns all of them, sorted.
func (m modules) commits() []Hash {
	var commits []Hash
	for c := range m {
		commits = append(commits, c)
	}
	sortHashes(commits)
	return commits
}

// from returns those from one place, sorted.
func (m modules) from(place string) []Hash {
	of := maps.Clone(m)
	maps.DeleteFunc(of, func(_ Hash, p string) bool { return p != place })
	return of.commits()
}

// placeOf names a remote for a ref: its URL could not be part of one.
func placeOf(a *address) string {
	return plumbing.ComputeHash(plumbing.BlobObject, []byte(a.String())).String()
}

func (r *objects) heldModules() modules {
	r.guard.Lock()
	defer r.guard.Unlock()
	return r.modules
}

// setModules replaces the modules: a map that another goroutine may read is never changed.
func (r *objects) setModules(m modules) {
	r.guard.Lock()
	defer r.guard.Unlock()
	r.modules = m
}

func (r *refs) moduleRef(place string, commit Hash) string {
	return filepath.Join(r.dir, moduleRefs, place, commit.String())
}

// recordModule makes a commit, which is complete here, part of the trees that have it as a
// submodule.
func (r *refs) recordModule(place string, commit Hash) error {
	if err := flushFilesystem(r.dir); err != nil {
		return err
	}
	if err := r.cutOff(commit); err != nil {
		return err
	}
	if err := writeFile(r.moduleRef(place, commit), []byte(commit.String()+"\n")); err != nil {
		return err
	}
	m := maps.Clone(r.heldModules())
	if m == nil {
		m = modules{}
	}
	m[commit] = place
	r.setModules(m)
	return nil
}

// loadModules finds out which submodules are here. It forgets a damaged one, which is then
// fetched again, and keeps the rest.
func (r *refs) loadModules() error {
	top := filepath.Join(r.dir, moduleRefs)
	places, err := os.ReadDir(top)
	if err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	m := modules{}
	for _, place := range places {
		refs, err := os.ReadDir(filepath.Join(top, place.Name()))
		if err != nil {
			return err
		}
		for _, ref := range refs {
			commit := plumbing.NewHash(ref.Name())
			if plumbing.IsHash(ref.Name()) && r.complete(Hash(commit)) {
				m[Hash(commit)] = place.Name()
			} else if err := os.RemoveAll(filepath.Join(top, place.Name(), ref.Name())); err != nil {
				return err
			}
		}
	}
	r.setModules(m)
	return nil
}

// forgetModules drops the submodules that are not among the needed objects, and returns the
// others.
func (r *refs) forgetModules(objects []Hash) ([]Hash, error) {
	needed := map[Hash]bool{}
	for _, h := range objects {
		needed[h] = true
	}
	m := maps.Clone(r.heldModules())
	maps.DeleteFunc(m, func(h Hash, _ string) bool { return !needed[h] })
	r.setModules(m)
	top := filepath.Join(r.dir, moduleRefs)
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || m.have(Hash(plumbing.NewHash(d.Name()))) {
			return err
		}
		return errors.Join(os.Remove(name), ignore(os.Remove(filepath.Dir(name)), syscall.ENOTEMPTY))
	})
	return m.commits(), ignore(err, fs.ErrNotExist)
}
