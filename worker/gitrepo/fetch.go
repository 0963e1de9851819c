package gitrepo

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
)

// Fetch fetches the commit that Look returned, with its files, and makes it the head. If it fails
// or is killed, the repository stays as it was.
func (r *Repo) Fetch(ctx context.Context, want Hash) error {
	r.fetching.Lock()
	defer r.fetching.Unlock()
	if !r.complete(want) {
		err := r.download(ctx, want)
		if _, holds := r.Head(); holds && errors.Is(err, ErrTooLarge) && r.tooLarge != want {
			if err = r.makeRoomFor(ctx, want, err); errors.Is(err, ErrTooLarge) {
				r.tooLarge = want // do not download it again with each poll
			}
		}
		if err != nil {
			return err
		}
	}
	if err := r.recordHead(want); err != nil {
		return r.fail("cannot fetch", err)
	}
	r.setHead(want)
	return nil
}

// makeRoomFor fetches the commit after making room: it drops what earlier fetches brought, and,
// if that is not enough, the kept commits.
func (r *Repo) makeRoomFor(ctx context.Context, want Hash, err error) error {
	if r.compact(ctx, tight) == nil {
		if err = r.download(ctx, want); !errors.Is(err, ErrTooLarge) {
			return err
		}
	}
	if ctx.Err() != nil {
		return err
	}
	return r.replace(ctx, want)
}

// replace fetches the commit into a new repository next to this one, which then takes its place:
// it holds nothing else.
func (r *Repo) replace(ctx context.Context, want Hash) error {
	fresh := newRepo(r.beside("fresh"), r.origin, r.limit, r.slack)
	defer func() { _ = os.RemoveAll(fresh.dir) }()
	if err := os.RemoveAll(fresh.dir); err != nil {
		return r.fail("cannot rebuild the clone of", err)
	}
	if err := fresh.create(); err != nil {
		return r.fail("cannot rebuild the clone of", err)
	}
	if err := fresh.download(ctx, want); err != nil {
		return err
	}
	if err := fresh.recordHead(want); err != nil {
		return r.fail("cannot rebuild the clone of", err)
	}
	if err := r.exchange(fresh.dir); err != nil {
		return r.fail("cannot rebuild the clone of", err)
	}
	return nil
}

func (r *Repo) download(ctx context.Context, want Hash) error {
	have, err := r.held()
	if err != nil {
		return r.fail("cannot fetch", err)
	}
	return r.obtain(ctx, r.remote, query{want: want, have: have}, r.fail)
}

// obtain fetches a commit from a remote. It returns errors as fail returns them.
func (r *objects) obtain(ctx context.Context, from upstream, q query, fail func(verb string, err error) error) error {
	file, err := r.receive(ctx, from, q)
	if err != nil {
		return fail("cannot fetch", err)
	}
	defer func() { _ = os.Remove(file) }()
	if err := r.unpack(ctx, file, len(q.have) > 0); err != nil {
		return fail("cannot unpack the pack from", ended(ctx, err))
	}
	store := r.store()
	defer store.close()
	if err := check(store, q.want, map[Hash]bool{}); err != nil {
		return fail("cannot use the commit from", unreadable(q.want, err))
	}
	return nil
}

// receive writes the requested pack to a temporary file and returns its name.
func (r *objects) receive(ctx context.Context, from upstream, q query) (name string, err error) {
	ctx, alive, cancel := withStall(ctx, r.stall)
	defer cancel()
	defer func() { err = ended(ctx, err) }()
	used, err := diskUsage(r.dir)
	if err != nil {
		return "", err
	}
	pack, err := from.pack(ctx, alive, q)
	if err != nil {
		return "", err
	}
	defer pack.Close()
	file, err := os.CreateTemp(filepath.Join(r.dir, packDir), temporaryPack+"*")
	if err != nil {
		return "", err
	}
	left := r.limit - used
	n, err := io.Copy(file, io.LimitReader(pack, left+1))
	if err == nil && n > left {
		err = problem(ErrTooLarge, "it takes more than the %s allowed for one repository; %s are in use", size(r.limit), size(used))
	}
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(file.Name())
		return "", err
	}
	return file.Name(), nil
}

// complete reports whether the commit and all of its objects are here, apart from its submodules.
func (r *objects) complete(commit Hash) bool { return len(r.completeOf(commit)) == 1 }

// completeOf returns those of the commits that are complete.
func (r *objects) completeOf(commits ...Hash) []Hash {
	store := r.store()
	defer store.close()
	var complete []Hash
	seen := map[Hash]bool{} // what several commits share is read once
	for _, c := range commits {
		if check(store, c, seen) == nil {
			complete = append(complete, c)
		} else {
			clear(seen) // some of what is in there is not here
		}
	}
	return complete
}

// check returns why not all objects of a commit can be read. It skips those in seen, and reads
// only the sizes of files.
func check(store objectStore, commit Hash, seen map[Hash]bool) error {
	return eachObject(store.alone(), commit, seen, func(h Hash, t plumbing.ObjectType) error {
		if t != plumbing.BlobObject {
			return nil
		}
		_, err := store.EncodedObjectSize(plumbing.Hash(h))
		return err
	})
}

func diskUsage(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
