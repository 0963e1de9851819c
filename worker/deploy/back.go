package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgo/internal/policy"
	"pgo/internal/printable"
	"pgo/worker/gitrepo"
)

// retreat goes back to the last good deploy after a switch that failed. It returns the
// cause and what came of going back.
func (d *deployer) retreat(outer context.Context, c *candidate, o order, cause error) error {
	if outer.Err() != nil {
		return cause // the worker ends; the next one continues
	}
	ctx, cancel := deadline(outer, d.cfg.Timeout)
	defer cancel()
	if away := d.engine.Away(ctx); away != nil {
		return errors.Join(cause, away) // it goes on when the engine is back
	}
	if errors.Is(cause, errRestarted) || errors.As(cause, new(*supersededError)) {
		return cause // it goes on from where it is
	}
	to := d.lastGood(c)
	if to == nil || !d.cfg.Rollback && !isNotReplaced(cause) {
		return d.leave(c, cause)
	}
	var v *Verdict
	var outages *Outages
	switch {
	case isVerdict(cause) && c.back == 0:
		r := *c.record
		r.fail(cause)
		v = r.verdict()
	case !isVerdict(cause) && c.back == 0:
		outages = d.store.snapshot().Outages.add(c.record.Basis, cause, d.obstacles.surroundings(ctx)(), time.Now())
		cause = fmt.Errorf("%w; %s", cause, outages.then())
	}
	err := d.store.update(func(st *State) {
		back := &Switching{Commit: to.tree(), Back: to.Number}
		if st.Switching != nil {
			back.inherit(st.Switching)
		}
		st.Switching = back
		if v != nil {
			st.Verdict = v
		}
		if outages != nil {
			st.Outages = outages
		}
	})
	if err != nil {
		return errors.Join(cause, err)
	}
	say(o.out, "%s", printable.Line(cause.Error()))
	went, unwell, err := d.goBack(ctx, to, c.commit.Short()+" failed", o)
	switch {
	case errors.As(err, new(*lostError)):
		return d.leave(c, &retreatError{cause, fmt.Sprintf("cannot go back: %v", err)})
	case err != nil:
		return &retreatError{cause, fmt.Sprintf("cannot go back: %v", err)}
	case unwell != nil:
		return &retreatError{cause, fmt.Sprintf("went back to %s, which is not healthy either: %v", went, unwell)}
	}
	return &retreatError{cause, "went back to " + went}
}

// retreatError is why a deploy failed, and what followed.
type retreatError struct {
	error
	then string
}

func (e *retreatError) Error() string { return e.error.Error() + "; " + e.then }
func (e *retreatError) Unwrap() error { return e.error }

// leave leaves what failed as it is, for somebody to look at: going back is not wanted, or
// there is nothing to go back to. What failed by a fault of the surroundings is begun
// again.
func (d *deployer) leave(c *candidate, cause error) error {
	if !isVerdict(cause) {
		return cause
	}
	r := c.record
	r.fail(cause)
	runs := r
	if r.Outcome != Degraded {
		runs = nil // it was never started
	}
	return errors.Join(cause, d.store.update(func(st *State) {
		st.Deployed, st.Switching, st.Verdict = runs, nil, r.verdict()
	}))
}

// lastGood returns the deploy to go back to from a candidate, or nil.
func (d *deployer) lastGood(c *candidate) *Record {
	state := d.store.snapshot()
	if runs := state.Deployed; runs.good() && runs.Number != c.record.Number {
		if kept := d.store.history.find(runs.Number); kept != nil {
			return kept
		}
	}
	return d.store.history.before(c.record.Number)
}

// goBack runs an earlier deploy again, from what is kept here: to, or an earlier one if
// that is lost. It returns which one. If that is not well this time, unwell says so and
// nothing else changes: there is none better.
func (d *deployer) goBack(ctx context.Context, to *Record, reason string, o order) (went string, unwell, err error) {
	c, err := d.recallGood(ctx, to, o)
	if err != nil {
		return "", nil, err
	}
	c.record.Trigger, c.record.Reason = "went back", reason
	if begun := d.store.snapshot().Switching; begun != nil {
		c.freeze = begun.Freeze // a rollback that was interrupted
	}
	if c.made, err = d.resumes(ctx, c); err != nil {
		return "", nil, err
	}
	if err := d.enter(ctx, c, o); err != nil {
		return "", nil, err
	}
	if unwell = d.ahead.pass(ctx, c, o); unwell != nil && !isVerdict(unwell) {
		return "", nil, unwell
	}
	d.tidy(ctx, c, o)
	boot, containers, err := d.containers.whatRuns(ctx)
	if err != nil {
		return "", unwell, err
	}
	c.record.Duration = time.Since(c.record.At)
	return c.record.Commit.Short(), unwell, d.store.update(func(st *State) {
		st.Deployed, st.Switching, st.Containers = c.record, nil, toRemember(boot, containers, st.Containers.Stopped, c.done)
		if c.freeze != nil {
			st.Frozen = c.freeze
		}
	})
}

// recallGood recalls the given deploy or, if it is lost, the one before it, and so on.
func (d *deployer) recallGood(ctx context.Context, to *Record, o order) (*candidate, error) {
	for {
		commit := to.Commit.Short()
		d.board.enter(StepBack, to.tree())
		say(o.out, "going back to %s", commit)
		c, err := d.recall(ctx, to)
		if !errors.As(err, new(*lostError)) {
			return c, err
		}
		d.log.Warn("cannot go back", "commit", commit, "error", err)
		before := d.store.history.before(to.Number)
		if errors.As(err, new(*goneError)) {
			if err := d.store.history.forget(to.Number); err != nil {
				return nil, err
			}
		}
		if before == nil {
			return nil, err
		}
		to = before
	}
}

// lostError means that pgo cannot go back to a good deploy now; goneError, that it never
// can again.
type (
	lostError struct{ error }
	goneError struct{ error }
)

func (e *lostError) Unwrap() error { return e.error }
func (e *goneError) Unwrap() error { return e.error }

func gone(err error) error { return &lostError{&goneError{err}} }

// recall makes a candidate of an earlier deploy. It needs no network.
func (d *deployer) recall(ctx context.Context, to *Record) (*candidate, error) {
	commit := to.tree()
	if _, err := d.repo.Commit(commit); err != nil {
		commit = to.Commit
	}
	model, err := d.store.history.model(to.Number)
	if err != nil {
		return nil, gone(err)
	}
	if err := d.proxy.placeIn(commit); err != nil {
		return nil, &lostError{err}
	}
	if err := d.images.areHere(ctx, to); err != nil {
		return nil, err
	}
	if err := d.prover.stageCommit(ctx, commit); errors.Is(err, gitrepo.ErrNoCommit) {
		return nil, gone(err)
	} else if errors.Is(err, gitrepo.ErrDamaged) {
		return nil, &lostError{err}
	} else if err != nil {
		return nil, err
	}
	r := *to
	r.At, r.Duration = time.Now(), 0
	c := &candidate{commit: commit, record: &r, resolved: model, images: model.Images(d.cfg.Name), back: to.Number}
	d.board.enter(StepCheck, commit)
	model.Reroot(d.files.checkout(), d.files.stage())
	// The operator may grant other things by now.
	judged, err := d.prover.asMade(ctx, model)
	if err != nil {
		return nil, err
	}
	then, err := d.tree.forecast(commit)
	if err != nil {
		return nil, err
	}
	defer then.Close()
	if err := refuse(d.files.project.Redact, c, policy.Check(d.around.limits(), judged.WithoutBuild().Document(), then)); err != nil {
		return nil, &lostError{err}
	}
	model.Reroot(d.files.stage(), d.files.checkout())
	c.model = model.Encode()
	return c, nil
}
