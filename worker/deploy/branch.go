package deploy

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/gitrepo"
)

// branch is the branch that is followed, in the service's own repository.
type branch struct {
	repo    *gitrepo.Repo
	store   *store
	board   *board
	log     hclog.Logger
	timeout time.Duration
}

// fetch fetches the branch's head, if it moved. It has a deadline even if the remote keeps
// sending something now and then: no other change runs meanwhile.
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

// soon is how long a git server may take to answer while a switch is unfinished.
const soon = 20 * time.Second

// fetchSoon fetches the branch. It does not wait long while a switch has to be finished.
func (b *branch) fetchSoon(ctx context.Context) (gitrepo.Hash, error) {
	if b.store.snapshot().Switching != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, soon, fmt.Errorf("%w: the git server did not answer within %s", context.DeadlineExceeded, soon))
		defer cancel()
	}
	return b.fetch(ctx)
}

// refresh fetches the branch for the keys in it while a change runs, so it leaves the board
// and the repository alone. Errors are left for the next fetch to report.
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

// rebuild begins the repository anew after a deploy has found it damaged.
func (b *branch) rebuild(reason error) error {
	b.rebuilding(reason)
	return b.repo.Rebuild()
}

// fetched returns the commit that operations work on: the one that a pull has chosen, or
// the head.
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
