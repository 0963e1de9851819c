package gitrepo

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Bounds of what a commit may hold. A few small objects can describe a tree of any size, since
// each may be used many times.
const (
	maxEntries = 100_000
	maxName    = 255
	maxPath    = 3072 // leaves room for the directory it is written to, in the kernel's 4096
)

// entry is what a commit has at a path.
type entry struct {
	mode filemode.FileMode
	hash Hash
}

// tree is everything that a commit has, by slash-separated path: files, symbolic links,
// directories, and submodules that are not here. A submodule that is here is a directory.
type tree map[string]entry

// file returns the file or symbolic link at a path, if there is one.
func (t tree) file(name string) (entry, bool) {
	e, ok := t[name]
	return e, ok && e.mode != filemode.Dir && e.mode != filemode.Submodule
}

func (t tree) isDir(name string) bool { return t[name].mode == filemode.Dir }

// files returns the paths of all files and symbolic links, sorted.
func (t tree) files() []string {
	var names []string
	for name := range t {
		if _, ok := t.file(name); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func readTree(store objectStore, hash Hash) (tree, error) {
	c, err := commit(store, hash)
	if err != nil {
		return nil, err
	}
	t := tree{}
	return t, t.add(store, hash, "", Hash(c.TreeHash))
}

// add adds what the tree object with that hash holds, as the directory dir.
func (t tree) add(store objectStore, commit Hash, dir string, hash Hash) error {
	listing, err := object.GetTree(store, plumbing.Hash(hash))
	if err != nil {
		return unreadable(commit, err)
	}
	for _, e := range listing.Entries {
		name := path.Join(dir, e.Name)
		if why := t.refusal(dir, e.Name); why != "" {
			return problem(ErrBadCommit, "commit %s cannot be used: it holds %q, %s", commit, dir+"/"+e.Name, why)
		}
		below, isDir, err := store.directory(e)
		if err != nil {
			return unreadable(commit, err)
		}
		if !isDir {
			t[name] = entry{e.Mode, Hash(e.Hash)}
			continue
		}
		t[name] = entry{filemode.Dir, Hash(e.Hash)}
		if err := t.add(store, commit, name, below); err != nil {
			return err
		}
	}
	return nil
}

// directory returns the tree object behind an entry that is a directory or a submodule that is
// here.
func (s objectStore) directory(e object.TreeEntry) (hash Hash, is bool, err error) {
	switch {
	case e.Mode == filemode.Dir:
		return Hash(e.Hash), true, nil
	case e.Mode == filemode.Submodule && s.modules.have(Hash(e.Hash)):
		c, err := object.GetCommit(s, e.Hash)
		if err != nil {
			return Hash{}, false, err
		}
		return Hash(c.TreeHash), true, nil
	}
	return Hash{}, false, nil
}

// refusal says why an entry cannot be written, or "". No git command makes such trees, but
// anybody can.
func (t tree) refusal(dir, name string) string {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return "which is not a valid file name"
	}
	full := path.Join(dir, name)
	_, twice := t[full]
	switch {
	case strings.EqualFold(name, ".git"):
		return "which git keeps for itself"
	case full == temporary:
		return "which pgo keeps for itself"
	case len(name) > maxName, len(full) > maxPath:
		return "which is too long a name"
	case twice:
		return "more than once"
	case len(t) >= maxEntries:
		return fmt.Sprintf("and more than %d files before it", maxEntries)
	}
	return ""
}

// eachObject visits each object of a commit once, except those in seen, and adds them there. The
// store says which submodules are part of it.
func eachObject(store objectStore, hash Hash, seen map[Hash]bool, visit func(Hash, plumbing.ObjectType) error) error {
	once := func(h Hash, t plumbing.ObjectType) error {
		if seen[h] {
			return nil
		}
		seen[h] = true
		return visit(h, t)
	}
	// Lists, not recursion: trees may be nested arbitrarily deep.
	commits, trees := []Hash{hash}, []Hash(nil)
	for len(commits)+len(trees) > 0 {
		if len(trees) == 0 {
			h := pop(&commits)
			c, err := object.GetCommit(store, plumbing.Hash(h))
			if err != nil {
				return err
			}
			if err := once(h, plumbing.CommitObject); err != nil {
				return err
			}
			trees = append(trees, Hash(c.TreeHash))
		}
		h := pop(&trees)
		if seen[h] {
			continue
		}
		if err := once(h, plumbing.TreeObject); err != nil {
			return err
		}
		listing, err := object.GetTree(store, plumbing.Hash(h))
		if err != nil {
			return err
		}
		for _, e := range listing.Entries {
			switch {
			case e.Mode == filemode.Dir:
				trees = append(trees, Hash(e.Hash))
			case e.Mode != filemode.Submodule:
				if err := once(Hash(e.Hash), plumbing.BlobObject); err != nil {
					return err
				}
			case store.modules.have(Hash(e.Hash)) && !seen[Hash(e.Hash)]:
				commits = append(commits, Hash(e.Hash))
			}
		}
	}
	return nil
}

func pop(list *[]Hash) Hash {
	l := *list
	*list = l[:len(l)-1]
	return l[len(l)-1]
}

// readBlob returns the content of a file that is known to be small.
func readBlob(store objectStore, hash Hash) ([]byte, error) {
	blob, err := object.GetBlob(store, plumbing.Hash(hash))
	if err != nil {
		return nil, err
	}
	r, err := blob.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
