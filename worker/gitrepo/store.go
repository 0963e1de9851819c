package gitrepo

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/go-git/go-billy/v5/helper/chroot"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// objects is what is stored in a repository's directory, of commits and of submodules.
type objects struct {
	dir   string
	limit int64         // of all that is on disk, and of the files of one commit
	stall time.Duration // how long a remote may be silent

	// removing is held for reading by each store, and for writing while files are removed that a
	// store may read. Whoever holds one store opens another only together with Repo.fetching,
	// which the writers hold too: lock that first.
	removing sync.RWMutex

	guard   sync.Mutex // of what follows
	modules modules    // the submodules that are here
}

// reader reads commits.
type reader struct{ *objects }

// store opens the objects afresh. Each operation does so, and closes them again: an idle worker
// then holds no index in memory, and no outdated one.
func (r *objects) store() objectStore {
	return r.openStore(filesystem.Options{KeepDescriptors: true, LargeObjectThreshold: 1 << 20})
}

func (r *objects) openStore(options filesystem.Options) objectStore {
	r.removing.RLock()
	s := openStore(r.dir, options)
	s.modules, s.release = r.heldModules(), r.removing.RUnlock
	return s
}

type objectStore struct {
	*filesystem.Storage

	modules modules // the submodules that are part of the trees
	release func()
}

// openStore opens the objects of any repository.
func openStore(dir string, options filesystem.Options) objectStore {
	storage := filesystem.NewStorageWithOptions(chroot.New(&files{}, dir), cache.NewObjectLRU(4*cache.MiByte), options)
	return objectStore{Storage: storage, release: func() {}}
}

// alone returns the store in which a tree ends at each submodule.
func (s objectStore) alone() objectStore {
	s.modules = nil
	return s
}

// close closes files that were only read, so it ignores their errors.
func (s objectStore) close() {
	_ = s.Close()
	s.release()
}

// commit reads a commit object.
func commit(store objectStore, hash Hash) (*object.Commit, error) {
	c, err := object.GetCommit(store, plumbing.Hash(hash))
	if err == plumbing.ErrObjectNotFound {
		return nil, problem(ErrNoCommit, "commit %s is not here", hash)
	}
	if err != nil {
		return nil, unreadable(hash, err)
	}
	return c, nil
}

// files is the file system that go-git gets. go-git's own fails to list a directory if something
// in it, such as another process's temporary file, disappears meanwhile; and go-git takes that to
// mean that there are no packs.
type files struct{ osfs.ChrootOS }

func (f *files) ReadDir(dir string) ([]fs.FileInfo, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var infos []fs.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err == nil {
			infos = append(infos, info)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return infos, nil
}
