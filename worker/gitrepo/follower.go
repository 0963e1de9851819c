package gitrepo

import (
	"context"
	"errors"
	"io/fs"
)

// Follower keeps a Repo at the head of its branch.
type Follower struct {
	Repo       *Repo
	Fetching   func(Hash)  // called before that commit is fetched; may be nil
	Rebuilding func(error) // called before the repository is rebuilt, with the reason; may be nil
}

// followTries bounds how often Update starts over.
const followTries = 3

// Update fetches the branch's head, if it moved, and reports whether it did. It starts over if
// somebody pushes meanwhile, and rebuilds a repository that is damaged or gone.
func (f Follower) Update(ctx context.Context) (head Hash, moved bool, err error) {
	for try := 1; ; try++ {
		head, moved, err = f.Once(ctx)
		switch {
		case err == nil || ctx.Err() != nil || try == followTries:
			return head, moved, err
		case errors.Is(err, ErrMoved):
		case errors.Is(err, ErrDamaged), errors.Is(err, fs.ErrNotExist):
			if f.Rebuilding != nil {
				f.Rebuilding(err)
			}
			if err := f.Repo.Rebuild(); err != nil {
				return head, false, err
			}
		default:
			return head, moved, err
		}
	}
}

// Once is one try of Update: it leaves the repository as it is, whatever is wrong.
func (f Follower) Once(ctx context.Context) (head Hash, moved bool, err error) {
	remote, err := f.Repo.Look(ctx)
	if err != nil {
		return Hash{}, false, err
	}
	if head, ok := f.Repo.Head(); ok && head == remote {
		return head, false, nil
	}
	if f.Fetching != nil {
		f.Fetching(remote)
	}
	if err := f.Repo.Fetch(ctx, remote); err != nil {
		return Hash{}, false, err
	}
	return remote, true, nil
}
