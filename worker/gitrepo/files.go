package gitrepo

import (
	"io/fs"
	"path"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// File returns the content of a regular file of a commit, if it has at most max bytes. The error
// is fs.ErrNotExist if there is no such file. It follows no symbolic link.
func (r reader) File(hash Hash, name string, max int64) ([]byte, error) {
	store := r.store()
	defer store.close()
	c, err := commit(store, hash)
	if err != nil {
		return nil, err
	}
	e, err := find(store, Hash(c.TreeHash), path.Clean(name))
	switch {
	case err != nil:
		return nil, unreadable(hash, err)
	case e == nil:
		return nil, problem(fs.ErrNotExist, "commit %s has no file %q", hash, name)
	case e.Mode != filemode.Regular && e.Mode != filemode.Executable:
		return nil, problem(ErrBadCommit, "commit %s cannot be used: %q is not a regular file", hash, name)
	}
	size, err := store.EncodedObjectSize(e.Hash)
	if err != nil {
		return nil, unreadable(hash, err)
	}
	if size > max {
		return nil, problem(ErrTooLarge, "%q of commit %s is larger than %d KiB", name, hash, max>>10)
	}
	content, err := readBlob(store, Hash(e.Hash))
	if err != nil {
		return nil, unreadable(hash, err)
	}
	return content, nil
}

// Names returns the names in a directory of a commit that are not directories, sorted, or nothing
// if there is no such directory. It follows no symbolic link.
func (r reader) Names(hash Hash, dir string) ([]string, error) {
	store := r.store()
	defer store.close()
	c, err := commit(store, hash)
	if err != nil {
		return nil, err
	}
	e, err := find(store, Hash(c.TreeHash), path.Clean(dir))
	if err != nil {
		return nil, unreadable(hash, err)
	}
	if e == nil {
		return nil, nil
	}
	if e.Mode != filemode.Dir {
		return nil, problem(ErrBadCommit, "commit %s cannot be used: %q is not a directory", hash, dir)
	}
	listing, err := object.GetTree(store, e.Hash)
	if err != nil {
		return nil, unreadable(hash, err)
	}
	var names []string
	for _, entry := range listing.Entries {
		if entry.Mode != filemode.Dir && entry.Mode != filemode.Submodule {
			names = append(names, entry.Name)
		}
	}
	return names, nil
}
