package gitrepo

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
	"golang.org/x/sys/unix"
)

// The repository on disk is one that git's own tools understand, so that an
// operator can look into it with them.
const (
	headRef  = "refs/heads/pgo" // HEAD must point to a branch
	keepRefs = "refs/pgo/keep"
	// The submodules that are here: a ref for each complete commit, by place.
	moduleRefs = "refs/pgo/modules"
	packDir    = "objects/pack"

	temporaryPack = "tmp_pack_"
)

// load reads the state on disk, and makes a new repository if there is none or a damaged one.
func (r *Repo) load() error {
	if err := r.tidy(); err != nil {
		return err
	}
	damage := r.inspect()
	switch {
	case errors.Is(damage, errNone):
		return r.create()
	case outOfResources(damage):
		return damage
	case damage != nil:
		r.rebuilt = damage
		return r.create()
	}
	if err := r.loadModules(); err != nil {
		return err
	}
	return r.follow()
}

// errNone means that there is no repository yet.
var errNone = errors.New("no repository")

// inspect reads the head and returns why it cannot.
func (r *Repo) inspect() error {
	if _, err := os.Lstat(r.dir); errors.Is(err, fs.ErrNotExist) {
		return errNone
	}
	for _, needed := range []string{"HEAD", "config", packDir} {
		if _, err := os.Stat(filepath.Join(r.dir, needed)); err != nil {
			return fmt.Errorf("it is not a git repository: %w", err)
		}
	}
	text, err := os.ReadFile(filepath.Join(r.dir, headRef))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing fetched yet
	}
	if err != nil {
		return err
	}
	hash := strings.TrimSpace(string(text))
	head, err := ParseHash(hash)
	if err != nil {
		return fmt.Errorf("%s holds %q, which is not the hash of a commit", headRef, oneLine(hash))
	}
	store := r.store()
	defer store.close()
	if err := check(store, head, map[Hash]bool{}); err != nil {
		return fmt.Errorf("its head, commit %s, cannot be read: %w", head, err)
	}
	r.setHead(head)
	return nil
}

// outOfResources reports whether an error says nothing about the repository.
func outOfResources(err error) bool {
	for _, e := range []syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Rebuild replaces the repository by an empty one, after ErrDamaged. The next
// Fetch fills it.
func (r *Repo) Rebuild() error {
	r.fetching.Lock()
	defer r.fetching.Unlock()
	return r.create()
}

// create makes an empty repository next to the one that may be there, and puts it in its place.
func (r *Repo) create() error {
	if err := r.tidy(); err != nil {
		return err
	}
	fresh := r.beside("new")
	if err := os.MkdirAll(fresh, 0o700); err != nil {
		return err
	}
	if err := dotgit.New(osfs.New(fresh)).Initialize(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(fresh, packDir), 0o700); err != nil {
		return err
	}
	text, err := r.config()
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(fresh, "config"), text); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(fresh, "HEAD"), []byte("ref: "+headRef+"\n")); err != nil {
		return err
	}
	r.setHead(Hash{})
	return r.exchange(fresh)
}

// exchange puts the repository in fresh in the place of this one. It has none of the submodules.
func (r *objects) exchange(fresh string) error {
	r.removing.Lock()
	defer r.removing.Unlock()
	if err := os.Rename(r.dir, r.beside("damaged")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, r.dir); err != nil {
		return err
	}
	r.setModules(nil)
	return os.RemoveAll(r.beside("damaged"))
}

func (r *objects) beside(what string) string { return r.dir + "." + what }

// tidy removes or puts back what a killed process may have left.
func (r *Repo) tidy() error {
	if _, err := os.Lstat(r.dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.Rename(r.beside("damaged"), r.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := errors.Join(os.RemoveAll(r.beside("new")), os.RemoveAll(r.beside("damaged")), os.RemoveAll(r.beside("fresh"))); err != nil {
		return err
	}
	packs, err := os.ReadDir(filepath.Join(r.dir, packDir))
	if err != nil {
		return nil // load will find out what is wrong
	}
	for _, p := range packs {
		if strings.HasPrefix(p.Name(), "tmp_") {
			if err := os.Remove(filepath.Join(r.dir, packDir, p.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// follow makes sure that the head on disk is that of the configured branch. The head of another
// repository or branch says nothing about this one, least of all whose keys may log in.
func (r *Repo) follow() error {
	text, err := r.config()
	if err != nil {
		return err
	}
	name := filepath.Join(r.dir, "config")
	if old, err := os.ReadFile(name); err != nil || bytes.Equal(old, text) {
		return err
	}
	if err := os.Remove(filepath.Join(r.dir, headRef)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.setHead(Hash{})
	return writeFile(name, text)
}

// config returns the repository's configuration, for git's own tools and for follow.
func (r *origin) config() ([]byte, error) {
	c := config.NewConfig()
	c.Core.IsBare = true
	c.Remotes["origin"] = &config.RemoteConfig{
		Name:  "origin",
		URLs:  []string{r.url},
		Fetch: []config.RefSpec{config.RefSpec("+" + branchPrefix + r.branch + ":" + headRef)},
	}
	return c.Marshal()
}

// recordHead makes a commit, which is complete here, the head on disk.
func (r *refs) recordHead(commit Hash) error {
	if err := flushFilesystem(r.dir); err != nil {
		return err
	}
	if err := r.cutOff(commit); err != nil {
		return err
	}
	return writeFile(filepath.Join(r.dir, headRef), []byte(commit.String()+"\n"))
}

// cutOff records that a commit has no history here, so that git's own tools do not ask for its
// parents.
func (r *refs) cutOff(commit Hash) error {
	shallow := filepath.Join(r.dir, "shallow")
	text, err := os.ReadFile(shallow)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	line := []byte(commit.String() + "\n")
	if bytes.Contains(text, line) {
		return nil
	}
	return writeFile(shallow, append(text, line...))
}

// writeFile writes a small file: at any time it is the old one or the new one.
func writeFile(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(name), ".tmp_*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}

// flushFilesystem flushes everything written to a directory's filesystem to disk, at a fraction
// of what it would cost file by file.
func flushFilesystem(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}
