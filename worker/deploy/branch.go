package deploy

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/printable"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// branch is the branch that is followed, in the service's own repository.
type branch struct {
	repo    *gitrepo.Repo
	store   *store
	board   *board
	log     hclog.Logger
	timeout time.Duration
	looked  atomic.Pointer[time.Time] // when the head was last known to be the newest; nil: not since the worker's start
}

// fetch fetches the branch's head, if it moved. It has a deadline even if the remote keeps
// sending something now and then: no other change runs meanwhile.
func (b *branch) fetch(ctx context.Context) (gitrepo.Hash, error) {
	ctx, cancel := deadline(ctx, b.timeout)
	defer cancel()
	f := gitrepo.Follower{Repo: b.repo, Fetching: func(head gitrepo.Hash) { b.board.enter(StepFetch, head) }, Rebuilding: b.rebuilding}
	head, moved, err := f.Update(ctx)
	b.answered(head, moved, err)
	return head, err
}

// soon is how long a git server may take to answer if somebody waits who can do without it.
const soon = 20 * time.Second

func answerSoon(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, soon, fmt.Errorf("%w: the git server did not answer within %s", context.DeadlineExceeded, soon))
}

// fetchSoon fetches the branch. It does not wait long while a switch has to be finished.
func (b *branch) fetchSoon(ctx context.Context) (gitrepo.Hash, error) {
	if b.store.snapshot().Switching != nil {
		var cancel context.CancelFunc
		ctx, cancel = answerSoon(ctx)
		defer cancel()
	}
	return b.fetch(ctx)
}

// refresh fetches the branch for the keys in it while a change runs. It does not rebuild a
// damaged repository, which the change may be using.
func (b *branch) refresh(ctx context.Context) {
	head, moved, err := gitrepo.Follower{Repo: b.repo}.Once(ctx)
	if ctx.Err() == nil && b.board.refreshed(err) {
		b.log.Warn("cannot fetch during a change", "error", err)
	}
	b.answered(head, moved, err)
}

// refreshSoon is refresh for a poll, which keeps others waiting.
func (b *branch) refreshSoon(ctx context.Context) {
	ctx, cancel := answerSoon(ctx)
	defer cancel()
	b.refresh(ctx)
}

func (b *branch) answered(head gitrepo.Hash, moved bool, err error) {
	if err == nil {
		now := time.Now()
		b.looked.Store(&now)
	}
	if moved {
		b.log.Info("fetched", "commit", head.Short())
		b.board.changed()
	}
}

func (b *branch) rebuilding(reason error) {
	b.log.Warn("rebuilding the git repository", "reason", reason)
}

// rebuild begins the repository anew after a deploy has found it damaged.
func (b *branch) rebuild(reason error) error {
	b.rebuilding(reason)
	return b.repo.Rebuild()
}

// newest returns the commit that an operation works on: the one that a pull has chosen, or
// the head, which newest fetches. If it cannot be fetched, it is the head as it was last
// fetched; out shows why, and how old that is.
func (b *branch) newest(ctx context.Context, out compose.Output) (gitrepo.Hash, error) {
	if pin := b.store.snapshot().pinned(time.Now()); pin != nil {
		say(out, "using %s, which %s pulled and which is pinned until %s", pin.Commit.Short(), pin.By, pin.Until.UTC().Format("15:04 UTC"))
		return pin.Commit, nil
	}
	before, _ := b.repo.Head()
	head, err := b.look(ctx)
	switch {
	case err == nil && head == before:
		b.answered(head, false, nil)
	case err == nil:
		if head, err = b.fetch(ctx); err == nil {
			say(out, "fetched %s", head.Short())
		}
	}
	if err == nil || ctx.Err() != nil {
		return head, err
	}
	last, known := b.repo.Head() // it may have been fetched meanwhile
	if !known {
		return last, fmt.Errorf("%w: %w", ErrNothingFetched, err)
	}
	say(out, "%s", printable.Line(fmt.Sprintf("%v; using %s, %s", err, last.Short(), b.age())))
	return last, nil
}

// look returns the branch's head on the git server, which must answer soon.
func (b *branch) look(ctx context.Context) (gitrepo.Hash, error) {
	ctx, cancel := answerSoon(ctx)
	defer cancel()
	return b.repo.Look(ctx)
}

// age returns how long ago the head was known to be the newest.
func (b *branch) age() string {
	if at := b.looked.Load(); at != nil {
		return "the newest commit " + time.Since(*at).Round(time.Second).String() + " ago"
	}
	return "fetched " + time.Since(b.repo.HeadTime()).Round(time.Second).String() + " ago"
}
