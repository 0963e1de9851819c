package deploy

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/gitrepo"
)

// branch is the one that is followed, in the service's own repository.
type branch struct {
	repo    *gitrepo.Repo
	store   *store
	board   *board
	log     hclog.Logger
	timeout time.Duration
}

// fetch brings the branch's head here, if it moved. That a remote sends
// something now and then is not enough: no other change runs meanwhile.
func (b *branch) fetch(ctx context.Context) (gitrepo.Hash, error) {
	ctx, cancel := deadline(ctx, b.timeout)
	defer cancel()
	f := gitrepo.Follower{Repo: b.repo, Fetching: func(head gitrepo.Hash) { b.board.enter(StepFetch, head) }, Rebuilding: b.rebuilding}
	head, moved, err := f.Update(ctx)
	if moved {
		b.fetchedNow(head)
	}
	return head, err
}

// soon is how long a git server may take to answer while what runs is in between.
const soon = 20 * time.Second

// fetchSoon fetches the branch. While a switch is to be finished it does not wait
// for long.
func (b *branch) fetchSoon(ctx context.Context) (gitrepo.Hash, error) {
	if b.store.snapshot().Switching != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, soon, fmt.Errorf("%w: the git server did not answer within %s", context.DeadlineExceeded, soon))
		defer cancel()
	}
	return b.fetch(ctx)
}

// refresh fetches the branch for the keys in it, while a change runs: so it leaves the
// board and the repository alone. What is wrong is for the next fetch to report.
func (b *branch) refresh(ctx context.Context) {
	head, moved, err := gitrepo.Follower{Repo: b.repo}.Once(ctx)
	if err != nil {
		b.log.Debug("cannot fetch during a change", "error", err)
	}
	if moved {
		b.fetchedNow(head)
	}
}

func (b *branch) fetchedNow(head gitrepo.Hash) {
	b.log.Info("fetched", "commit", head.Short())
	b.board.changed()
}

func (b *branch) rebuilding(reason error) {
	b.log.Warn("rebuilding the git repository", "reason", reason)
}

// rebuild begins the repository anew, which a deploy has found to be damaged.
func (b *branch) rebuild(reason error) error {
	b.rebuilding(reason)
	return b.repo.Rebuild()
}

// fetched is the commit that operations work on: the one that a pull has chosen,
// or the head.
func (b *branch) fetched() (gitrepo.Hash, error) {
	if pin := b.store.snapshot().pinned(time.Now()); pin != nil {
		return pin.Commit, nil
	}
	head, ok := b.repo.Head()
	if !ok {
		return head, ErrNothingFetched
	}
	return head, nil
}
