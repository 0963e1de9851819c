package gitrepo

import (
	"io"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Entries returns for each path what identifies its content in the commit: the mode and hash of a
// file, a directory or a submodule, or "" if nothing is there. It follows symbolic links on the
// way as long as they stay in the tree, and each is part of the identity; it does not follow
// links inside of a directory.
func (r reader) Entries(hash Hash, paths []string) (map[string]string, error) {
	store := r.store()
	defer store.close()
	c, err := commit(store, hash)
	if err != nil {
		return nil, err
	}
	identities := make(map[string]string, len(paths))
	for _, p := range paths {
		if identities[p], err = identity(store, Hash(c.TreeHash), path.Clean(p)); err != nil {
			return nil, unreadable(hash, err)
		}
	}
	return identities, nil
}

// maxLinks bounds how many symbolic links are followed, as Linux does.
const maxLinks = 40

func identity(store objectStore, root Hash, name string) (string, error) {
	var passed []string
	for range maxLinks {
		e, link, rest, err := findLink(store, root, name)
		if err != nil {
			return "", err
		}
		if e != nil {
			passed = append(passed, e.Mode.String()+" "+e.Hash.String())
		}
		if e == nil || e.Mode != filemode.Symlink {
			break
		}
		target, err := readLink(store, Hash(e.Hash))
		if err != nil {
			return "", err
		}
		name = path.Join(path.Dir(link), target, rest)
		if path.IsAbs(target) || name == ".." || strings.HasPrefix(name, "../") {
			break
		}
	}
	return strings.Join(passed, ", "), nil
}

// findLink returns the entry at the path, or the first symbolic link on the way there with the
// rest of the path after it.
func findLink(store objectStore, root Hash, name string) (e *object.TreeEntry, at, rest string, err error) {
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		e, err := find(store, root, name[:i])
		if err != nil || e == nil {
			return nil, "", "", err
		}
		if e.Mode == filemode.Symlink {
			return e, name[:i], name[i+1:], nil
		}
	}
	e, err = find(store, root, name)
	return e, name, "", err
}

// maxLinkLength is Linux's limit.
const maxLinkLength = 4096

func readLink(store objectStore, hash Hash) (string, error) {
	blob, err := object.GetBlob(store, plumbing.Hash(hash))
	if err != nil {
		return "", err
	}
	r, err := blob.Reader()
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	target, err := io.ReadAll(io.LimitReader(r, maxLinkLength))
	return string(target), err
}

// find returns the entry at a clean path below a tree, or nil. It does not use go-git's
// FindEntry, which does not find names that are unsafe on Windows.
func find(store objectStore, root Hash, name string) (*object.TreeEntry, error) {
	at := &object.TreeEntry{Mode: filemode.Dir, Hash: plumbing.Hash(root)}
	if name == "." {
		return at, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		hash, isDir, err := store.directory(*at)
		if err != nil || !isDir {
			return nil, err
		}
		listing, err := object.GetTree(store, plumbing.Hash(hash))
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(listing.Entries, func(e object.TreeEntry) bool { return e.Name == part })
		if i < 0 {
			return nil, nil
		}
		at = &listing.Entries[i]
	}
	return at, nil
}

// Occupant returns what the commit has in the place of a file that must not come from git:
// something at that path, which may be a directory or a submodule (isDir), or something above it
// that is not a directory. It is "" if the place is free.
func (r reader) Occupant(hash Hash, name string) (occupant string, isDir bool, err error) {
	store := r.store()
	defer store.close()
	c, err := commit(store, hash)
	if err != nil {
		return "", false, err
	}
	name = path.Clean(name)
	for i := range len(name) + 1 {
		whole := i == len(name)
		if !whole && name[i] != '/' {
			continue
		}
		e, err := find(store, Hash(c.TreeHash), name[:i])
		if err != nil {
			return "", false, unreadable(hash, err)
		}
		if e == nil {
			return "", false, nil
		}
		if whole || e.Mode != filemode.Dir {
			return name[:i], whole && (e.Mode == filemode.Dir || e.Mode == filemode.Submodule), nil
		}
	}
	return "", false, nil
}
