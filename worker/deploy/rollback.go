package deploy

import (
	"context"
	"fmt"
	"time"

	"pgo/worker/compose"
)

// Freeze stops following the branch.
func (t *Turn) Freeze(by, reason string, out compose.Output) error {
	if err := t.store.usable(); err != nil {
		return err
	}
	before := t.store.snapshot().Frozen
	frozen := &Frozen{By: by, Reason: reason, At: time.Now()}
	if err := t.store.update(func(st *State) { st.Frozen = frozen }); err != nil {
		return err
	}
	t.board.idle()
	if before != nil {
		say(out, "was already frozen %s", before)
	}
	say(out, "frozen %s", frozen)
	return nil
}

// Unfreeze follows the branch again.
func (t *Turn) Unfreeze(out compose.Output) error {
	if err := t.store.usable(); err != nil {
		return err
	}
	frozen := t.store.snapshot().Frozen
	if frozen == nil {
		say(out, "not frozen: there is nothing to do")
		return nil
	}
	if err := t.store.update(func(st *State) { st.Frozen = nil }); err != nil {
		return err
	}
	t.held = Basis{}
	t.board.idle()
	say(out, "the branch is followed again, from the next poll on")
	return nil
}

// Rollback deploys an earlier good deploy again, from what is kept here, and freezes.
// commit may be abbreviated; if it is empty, it is the one before what runs.
func (t *Turn) Rollback(ctx context.Context, by, commit string, out compose.Output) error {
	if err := t.store.usable(); err != nil {
		return err
	}
	to, err := t.earlier(commit)
	if err != nil {
		return err
	}
	t.store.journal.begin(heading("rollback by " + by + " to " + to.Commit.Short()))
	o := order{trigger: "rollback by " + by, told: true, out: t.store.journal.recorded(out)}
	r, err := t.rollBack(ctx, by, to, o)
	t.conclude(err)
	t.proxy.sync(ctx)
	t.advice.judge()
	if err = t.remember(r, err, false); err != nil {
		t.board.ended(outcomeOf(err), err)
		return err
	}
	t.board.ended(Deployed, nil)
	say(out, "deployed %s again, and frozen: unfreeze follows the branch again", to.Commit.Short())
	return nil
}

// earlier finds the deploy to go back to.
func (t *Turn) earlier(commit string) (*Record, error) {
	if commit != "" {
		if to := t.store.history.ofCommit(commit); to != nil {
			return to, nil
		}
		return nil, &NoCommitError{fmt.Sprintf("there is no good deploy of %s to go back to; %s", commit, t.store.history.offer())}
	}
	number := 1 << 62
	state := t.store.snapshot()
	if d := state.Deployed; d != nil && state.Switching == nil {
		number = d.Number
	}
	if to := t.store.history.before(number); to != nil {
		return to, nil
	}
	return nil, &NoCommitError{"there is no earlier good deploy to go back to; " + t.store.history.offer()}
}

func (t *Turn) rollBack(outer context.Context, by string, to *Record, o order) (*Record, error) {
	ctx, cancel := deadline(outer, t.cfg.Timeout)
	defer cancel()
	failed := *to
	failed.At, failed.Trigger = time.Now(), o.trigger
	c, err := t.recall(ctx, to)
	if err != nil {
		return &failed, err
	}
	c.record.Trigger, c.record.Reason = o.trigger, "deployed again"
	c.freeze = &Frozen{By: by, Reason: "rollback to " + to.Commit.Short(), At: time.Now()}
	if err := t.prepare(ctx, c); err != nil {
		return c.record, err
	}
	if err := t.store.update(func(st *State) { st.Wanted, st.Pin, st.Containers.Stopped = Up, nil, nil }); err != nil {
		return c.record, err
	}
	t.isDown = false
	return c.record, t.replace(outer, ctx, c, o)
}
