package gitrepo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"pgo/internal/lazyregexp"
)

// maxMissing bounds what Missing finds.
const maxMissing = 100

// Missing is something that a commit should have and the repository does not.
type Missing struct {
	// Path is where, relative to the top of the commit's tree.
	Path string
	// Why says what is missing and what to do, to be put after the path.
	Why string
	// Verdict: it is the commit's own fault. Otherwise it may be there on another try: a network,
	// a server, or the right to read from it was missing.
	Verdict bool
}

func (m Missing) String() string { return fmt.Sprintf("%q %s", m.Path, m.Why) }

// Missing returns what the commit cannot provide at these paths, which are relative,
// slash-separated, and "." for all: submodules that are not here, if a path is one, leads into
// one or has one below it, and pointers to Git LFS, if a path is one or has one below it. Stage
// writes nothing for such a submodule; for a pointer it writes the pointer.
//
// A path that is not in the commit is not missing. As in Entries, symbolic links on the way are
// followed as long as they stay in the tree; links inside of a directory are not.
//
// The result is sorted by path. The search ends after a hundred. For a submodule, Why has the
// error of the last FetchSubmodules.
func (r *Repo) Missing(ctx context.Context, commit Hash, paths []string) ([]Missing, error) {
	store := r.store()
	defer store.close()
	t, err := readTree(store, commit)
	if err != nil {
		return nil, err
	}
	s := search{Repo: r, store: store, commit: commit, tree: t, all: slices.Sorted(maps.Keys(t)), found: map[string]Missing{}, seen: names{}}
	for _, p := range paths {
		if err := s.look(ctx, path.Clean(p)); err != nil {
			return nil, err
		}
	}
	var missing []Missing
	for _, name := range slices.Sorted(maps.Keys(s.found)) {
		missing = append(missing, s.found[name])
	}
	return missing, nil
}

// search is one run of Missing.
type search struct {
	*Repo
	store  objectStore
	commit Hash
	tree   tree
	all    []string // its paths, sorted
	found  map[string]Missing
	seen   names
}

// look examines what a path leads to, and everything below that.
func (s *search) look(ctx context.Context, name string) error {
	name, err := s.follow(name)
	if err != nil || s.seen[name] {
		return err
	}
	s.seen[name] = true
	if name == "." {
		return s.examine(ctx, s.all)
	}
	if _, ok := s.tree[name]; !ok {
		return nil
	}
	if err := s.examine(ctx, []string{name}); err != nil {
		return err
	}
	below := name + "/"
	start, _ := slices.BinarySearch(s.all, below)
	end := start
	for end < len(s.all) && strings.HasPrefix(s.all[end], below) {
		end++
	}
	return s.examine(ctx, s.all[start:end])
}

// follow returns the path that a path leads to by links on the way, at most up to a submodule
// that is not here.
func (s *search) follow(name string) (string, error) {
	for range maxLinks {
		at, rest := s.firstTurn(name)
		if s.tree[at].mode != filemode.Symlink {
			return at, nil
		}
		target, err := readLink(s.store, s.tree[at].hash)
		if err != nil {
			return "", unreadable(s.commit, err)
		}
		if path.IsAbs(target) {
			return at, nil
		}
		name = path.Join(path.Dir(at), target, rest)
	}
	return name, nil
}

// firstTurn returns the first link or submodule on the way to a path, and the rest of the path
// after it, or the whole path.
func (s *search) firstTurn(name string) (at, rest string) {
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		if mode := s.tree[name[:i]].mode; mode == filemode.Symlink || mode == filemode.Submodule {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

// examine adds those of the paths that are missing.
func (s *search) examine(ctx context.Context, paths []string) error {
	for _, name := range paths {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if len(s.found) >= maxMissing {
			return nil
		}
		switch e := s.tree[name]; e.mode {
		case filemode.Dir, filemode.Symlink:
		case filemode.Submodule:
			f := s.failure(e.hash)
			s.found[name] = Missing{Path: name, Why: "is a submodule that " + f.why, Verdict: f.verdict}
		default:
			pointer, err := s.isPointer(e.hash)
			if err != nil {
				return unreadable(s.commit, err)
			}
			if pointer {
				s.found[name] = Missing{Path: name, Why: pointerWhy, Verdict: true}
			}
		}
	}
	return nil
}

const pointerWhy = "is a Git LFS pointer, and pgo does not fetch from LFS; commit the file itself, or build it into an image"

// Bounds of the length of a pointer: the shortest possible one, and what git-lfs reads.
const (
	minPointer = 100
	maxPointer = 1024
)

func (s *search) isPointer(hash Hash) (bool, error) {
	size, err := s.store.EncodedObjectSize(plumbing.Hash(hash))
	if err != nil || size < minPointer || size > maxPointer {
		return false, err
	}
	content, err := readBlob(s.store, hash)
	return err == nil && isPointer(content), err
}

// The lines of a pointer, see git-lfs's docs/spec.md: the version comes first, the others are
// sorted, and extensions may be among them.
var (
	pointerVersion = lazyregexp.New(`^version (https://git-lfs\.github\.com/spec/v1|https://hawser\.github\.com/spec/v1|http://git-media\.io/v/2)$`)
	pointerOid     = lazyregexp.New(`^oid sha256:([0-9a-f]+)$`)
	pointerSize    = lazyregexp.New(`^size [0-9]+$`)
)

// isPointer reports whether a file's content is a Git LFS pointer.
func isPointer(content []byte) bool {
	if len(content) > maxPointer {
		return false
	}
	var version, oid, size bool
	for line := range bytes.Lines(content) {
		line = bytes.TrimRight(line, "\r\n")
		if !version && !pointerVersion.Match(line) {
			return false
		}
		version = true
		if hash := pointerOid.FindSubmatch(line); hash != nil {
			oid = oid || len(hash[1]) == 2*sha256.Size
		}
		size = size || pointerSize.Match(line)
	}
	return oid && size
}
