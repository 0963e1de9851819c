package gitrepo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Look returns the hash of the branch's head on the remote. It lists refs and
// fetches nothing.
func (r *origin) Look(ctx context.Context) (Hash, error) {
	ctx, _, cancel := withStall(ctx, r.stall)
	defer cancel()
	heads, err := r.remote.heads(ctx, r.branch)
	if err != nil {
		return Hash{}, r.fail("cannot look at", ended(ctx, err))
	}
	head, ok := heads[r.branch]
	if !ok {
		return Hash{}, r.fail("cannot look at", r.noBranch(ctx))
	}
	return head, nil
}

// noBranch returns the error that lists the branches there are.
func (r *origin) noBranch(ctx context.Context) error {
	heads, err := r.remote.heads(ctx, "")
	if err != nil {
		return ended(ctx, err)
	}
	if len(heads) == 0 {
		return problem(ErrNoBranch, "it is empty: there is no branch %q, nor any other; push a commit", r.branch)
	}
	names := slices.Sorted(maps.Keys(heads))
	const most = 5
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	return problem(ErrNoBranch, "there is no branch %q, only %s%s; set `branch`", r.branch, oneLine(strings.Join(names, ", ")), more)
}

// withStall returns a context that ends with ErrStalled once alive has not been called for the
// limit.
func withStall(ctx context.Context, limit time.Duration) (_ context.Context, alive, cancel func()) {
	ctx, end := context.WithCancelCause(ctx)
	timer := time.AfterFunc(limit, func() { end(problem(ErrStalled, "nothing arrived for %v", limit)) })
	return ctx, func() { timer.Reset(limit) }, func() {
		timer.Stop()
		end(nil)
	}
}
