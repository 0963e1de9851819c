package gitrepo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Look returns the hash of the branch's head on the remote. It lists refs and
// fetches nothing.
func (r *origin) Look(ctx context.Context) (Hash, error) {
	ctx, _, cancel := withStall(ctx, r.stall)
	defer cancel()
	refs, err := r.remote.refs(ctx, branchPrefix+r.branch)
	if err != nil {
		return Hash{}, r.fail("cannot look at", ended(ctx, err))
	}
	head, ok := refs[branchPrefix+r.branch]
	if !ok {
		return Hash{}, r.fail("cannot look at", r.noBranch(ctx))
	}
	return head, nil
}

// noBranch returns the error that lists the branches there are.
func (r *origin) noBranch(ctx context.Context) error {
	refs, err := r.remote.refs(ctx, branchPrefix, tagPrefix+r.branch)
	if err != nil {
		return ended(ctx, err)
	}
	var names []string
	for name := range refs {
		if branch, ok := strings.CutPrefix(name, branchPrefix); ok {
			names = append(names, branch)
		}
	}
	_, tag := refs[tagPrefix+r.branch]
	switch {
	case tag && len(names) == 0:
		return problem(ErrNoBranch, "%q is a tag, and there is no branch; push a branch, which pgo can follow", r.branch)
	case len(names) == 0:
		return problem(ErrNoBranch, "it is empty: there is no branch %q, nor any other; push a commit", r.branch)
	}
	slices.Sort(names)
	const most = 5
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	if tag {
		return problem(ErrNoBranch, "%q is a tag, and pgo follows only branches: %s%s; set `branch`, or make a branch of the tag", r.branch, oneLine(strings.Join(names, ", ")), more)
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
