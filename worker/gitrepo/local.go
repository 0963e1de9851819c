package gitrepo

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// localRemote is a repository in a directory of this machine, bare or not.
type localRemote string

func (l localRemote) refs(context.Context, ...string) (map[string]Hash, error) {
	store, err := l.open()
	if err != nil {
		return nil, err
	}
	defer store.close()
	all, err := store.IterReferences()
	if err != nil {
		return nil, err
	}
	refs := map[string]Hash{}
	return refs, all.ForEach(func(ref *plumbing.Reference) error {
		refs[ref.Name().String()] = Hash(ref.Hash())
		return nil
	})
}

func (l localRemote) pack(ctx context.Context, alive func(), q query) (io.ReadCloser, error) {
	store, err := l.open()
	if err != nil {
		return nil, err
	}
	missing, err := difference(store, q.want, q.have)
	if err != nil {
		store.close()
		return nil, err
	}
	out, in := io.Pipe()
	stop := context.AfterFunc(ctx, func() { in.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer stop()
		defer store.close()
		_, err := packfile.NewEncoder(in, store, false).Encode(plain(missing), 0)
		in.CloseWithError(err)
	}()
	return readCloser{watched{out, alive}, out}, nil
}

func (l localRemote) open() (objectStore, error) {
	for _, dir := range []string{filepath.Join(string(l), ".git"), string(l)} {
		if _, err := os.Stat(filepath.Join(dir, "objects")); err == nil {
			// A threshold of one byte: objects are read when they are written to the pack, and
			// are not all held in memory before.
			store := openStore(dir, filesystem.Options{LargeObjectThreshold: 1})
			if cfg, err := store.Config(); err == nil && cfg.Raw.Section("extensions").Option("objectformat") == formatSHA256 {
				store.close()
				return objectStore{}, errSHA256
			}
			return store, nil
		} else if errors.Is(err, os.ErrPermission) {
			return objectStore{}, problem(ErrAuth, "this service's user may not read it: %v", err)
		}
	}
	return objectStore{}, problem(ErrNotFound, "there is no git repository in that directory")
}

// difference returns the objects of the commit want that the commits in have do not hold.
func difference(store objectStore, want Hash, have []Hash) ([]Hash, error) {
	seen := map[Hash]bool{}
	for _, h := range have {
		// A commit that is not here, or no longer here, adds nothing to leave out.
		_ = eachObject(store, h, seen, func(Hash, plumbing.ObjectType) error { return nil })
	}
	var missing []Hash
	err := eachObject(store, want, seen, func(h Hash, _ plumbing.ObjectType) error {
		missing = append(missing, h)
		return nil
	})
	return missing, err
}
