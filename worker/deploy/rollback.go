package deploy

import (
	"context"
	"fmt"
	"time"

	"pgo/worker/compose"
)

// Freeze stops following the branch. It is a change.
func (s *Service) Freeze(by, reason string, out compose.Output) error {
	if err := s.usable(); err != nil {
		return err
	}
	before := s.snapshot().Frozen
	frozen := &Frozen{By: by, Reason: reason, At: time.Now()}
	if err := s.update(func(st *State) { st.Frozen = frozen }); err != nil {
		return err
	}
	s.idle()
	if before != nil {
		say(out, "was frozen %s", before)
	}
	say(out, "frozen %s", frozen)
	return nil
}

// Unfreeze follows the branch again. It is a change.
func (s *Service) Unfreeze(out compose.Output) error {
	if err := s.usable(); err != nil {
		return err
	}
	frozen := s.snapshot().Frozen
	if frozen == nil {
		say(out, "not frozen: there is nothing to do")
		return nil
	}
	s.held = Basis{}
	if err := s.update(func(st *State) { st.Frozen = nil }); err != nil {
		return err
	}
	s.idle()
	say(out, "the branch is followed again, with the next poll")
	return nil
}

// Rollback deploys an earlier good deploy again, from what is kept here, and
// freezes. commit may be abbreviated; empty: the one before what runs. It is a
// change.
func (s *Service) Rollback(ctx context.Context, by, commit string, out compose.Output) error {
	if err := s.usable(); err != nil {
		return err
	}
	to, err := s.earlier(commit)
	if err != nil {
		return err
	}
	s.journal.begin(title("rollback by " + by + " to " + to.Commit.Short()))
	o := order{trigger: "rollback by " + by, told: true, out: s.recorded(out)}
	r, err := s.rollBack(ctx, by, to, o)
	s.conclude(err)
	s.SyncProxy(ctx)
	s.judge()
	if err = s.remember(r, err, false); err != nil {
		s.ended(outcomeOf(err), err)
		return err
	}
	s.ended(Deployed, nil)
	say(out, "deployed %s again, and frozen: unfreeze follows the branch again", to.Commit.Short())
	return nil
}

// earlier finds the deploy to go back to.
func (s *Service) earlier(commit string) (*Record, error) {
	if commit != "" {
		if to := s.history.ofCommit(commit); to != nil {
			return to, nil
		}
		return nil, &NoCommitError{fmt.Sprintf("there is no good deploy of %s to go back to; %s", commit, s.history.offer())}
	}
	number := 1 << 62
	state := s.snapshot()
	if d := state.Deployed; d != nil && state.Switching == nil {
		number = d.Number
	}
	if to := s.history.before(number); to != nil {
		return to, nil
	}
	return nil, &NoCommitError{"there is no earlier good deploy to go back to; " + s.history.offer()}
}

func (s *Service) rollBack(worker context.Context, by string, to *Record, o order) (*Record, error) {
	ctx, cancel := s.deadline(worker)
	defer cancel()
	failed := *to
	failed.At, failed.Trigger = time.Now(), o.trigger
	c, err := s.recall(ctx, to)
	if err != nil {
		return &failed, err
	}
	c.record.Trigger, c.record.Reason = o.trigger, "deployed again"
	c.freeze = &Frozen{By: by, Reason: "rollback to " + to.Commit.Short(), At: time.Now()}
	if err := s.prepare(ctx, c); err != nil {
		return c.record, err
	}
	if err := s.update(func(st *State) { st.Wanted, st.Pin, st.Containers.Stopped, s.isDown = Up, nil, nil, false }); err != nil {
		return c.record, err
	}
	return c.record, s.replace(worker, ctx, c, o)
}
