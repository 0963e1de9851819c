package deploy

import (
	"context"
	"errors"
	"time"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// Resume brings what runs in line with what is wanted after the worker's start: a crash can
// have left it in between.
func (t *Turn) Resume(ctx context.Context) error {
	t.syncProxy(ctx) // it does not wait for a git server
	if err := compose.EndRehearsal(ctx, t.engine, t.cfg.Name); err != nil {
		t.log.Debug("cannot look for what an earlier worker has left", "error", err) // the engine is away, which others tell
	}
	if t.store.snapshot().Wanted != Down {
		return nil // the first Poll does it
	}
	err := t.stayDown(ctx)
	t.board.ended(TakenDown, err)
	return err
}

// stayDown takes the service down, unless that has worked before: the engine may have been
// away when somebody ran down, or at the worker's start.
func (d *deployer) stayDown(ctx context.Context) error {
	if d.isDown {
		return nil
	}
	ctx, cancel := deadline(ctx, d.cfg.Timeout)
	defer cancel()
	if err := d.strangers(ctx, nil); err != nil {
		return &stepError{"take down", d.cfg.Name, err}
	}
	return d.takeDown(ctx, compose.Output{})
}

// Poll checks the branch and deploys it if it moved.
func (t *Turn) Poll(ctx context.Context) error {
	t.advice.prepared()
	outcome, err := t.poll(ctx)
	t.syncProxy(ctx)
	t.board.ended(outcome, err)
	// Operations fetch, too, and leave this to the next poll.
	if head, _ := t.repo.Head(); head != t.compacted {
		t.compacted = head
		if err := t.repo.Compact(ctx); err != nil {
			t.log.Warn("cannot compact the git repository", "error", err)
		}
	}
	return err
}

func (t *Turn) poll(ctx context.Context) (Outcome, error) {
	if begun := t.begun(); begun != nil {
		// It needs no git server, and nobody knows whether that answers, or how soon.
		outcome, err := t.goOn(ctx, begun)
		if err != nil || begun.Back != 0 || t.store.snapshot().Switching != nil {
			t.branch.refreshSoon(ctx) // which has the keys, and perhaps a commit that works
			return outcome, err
		}
		t.board.ended(outcome, nil)
	}
	head, cannot := t.branch.fetchSoon(ctx)
	if err := t.store.usable(); err != nil {
		return "", err
	}
	state := t.store.snapshot()
	if !t.secured() {
		if err := t.secure(ctx); err != nil {
			t.log.Warn("cannot keep what is needed to go back to what is deployed", "error", err)
		}
	}
	if state.Wanted == Down {
		if err := t.stayDown(ctx); err != nil {
			return Failed, err
		}
		return TakenDown, cannot
	}
	if cannot != nil {
		return "", cannot
	}
	if begun := state.Switching; begun != nil {
		return t.goForward(ctx, begun, head)
	}
	basis, hold := t.around.basis(head), t.hold(state)
	switch {
	case state.Deployed.good() && state.Deployed.Basis == basis && hold == KeptFrozen:
		return KeptFrozen, nil
	case state.Deployed.good() && state.Deployed.Basis == basis:
		return Deployed, nil
	case state.condemns(basis):
		return state.Verdict.Outcome, &condemnedError{state.Verdict}
	case hold != "" && t.held == basis:
		return hold, nil
	}
	if wait := t.tooEarly(ctx, basis.Commit, basis.Settings); wait != nil {
		return Failed, wait
	}
	if wait := state.Outages.wait(basis, time.Now(), t.obstacles.surroundings(ctx)); wait != nil && hold == "" {
		return Failed, wait
	}
	_, outcome, err := t.attempt(ctx, head, order{trigger: "poll", pull: "missing", hold: hold != ""})
	if outcome == Held {
		outcome = hold
	}
	return outcome, err
}

// tooEarly returns the last error while a commit that failed is not to be tried again. In the
// middle of a switch a change around does not count: each try replaces containers, which is a
// change around for others.
func (t *Turn) tooEarly(ctx context.Context, commit gitrepo.Hash, settings string) error {
	around := t.obstacles.surroundings(ctx)
	if t.store.snapshot().Switching != nil {
		around = func() compose.Surroundings { return compose.Surroundings{} }
	}
	return t.faults.wait(commit, settings, around)
}

// hold returns why nothing is deployed until somebody says so, or "" if nothing is in the
// way.
func (t *Turn) hold(state State) Outcome {
	switch {
	case state.Frozen != nil:
		return KeptFrozen
	case t.cfg.Ignore, state.pinned(time.Now()) != nil:
		return Held
	}
	return ""
}

// begun returns the interrupted switch that can be finished with what is here, or nil.
func (t *Turn) begun() *Switching {
	state := t.store.snapshot()
	if t.store.usable() != nil || state.Wanted != Up || state.Switching == nil {
		return nil
	}
	if state.Switching.Back == 0 {
		if _, err := t.repo.Commit(state.Switching.Commit); err != nil {
			return nil // the repository was lost, and is fetched again
		}
	}
	return state.Switching
}

// goOn finishes a switch that was interrupted: to what was begun or, if this worker has tried
// that in vain, to the head as it was last fetched.
func (t *Turn) goOn(ctx context.Context, begun *Switching) (Outcome, error) {
	if begun.Back != 0 {
		return t.goOnBack(ctx, begun)
	}
	head, known := t.repo.Head()
	if !t.wentOn || !known {
		head = begun.Commit
	}
	t.wentOn = true
	return t.goForward(ctx, begun, head)
}

// goForward deploys the head instead of what was begun, unless nobody has asked for it, or it
// does not work.
func (t *Turn) goForward(ctx context.Context, begun *Switching, head gitrepo.Hash) (Outcome, error) {
	state, commit := t.store.snapshot(), begun.Commit
	if t.hold(state) == "" && !state.condemns(t.around.basis(head)) {
		commit = head
	}
	if wait := t.tooEarly(ctx, commit, t.cfg.settings()); wait != nil {
		return Failed, wait
	}
	_, outcome, err := t.attempt(ctx, commit, order{trigger: "poll", pull: "missing"})
	return outcome, err
}

// goOnBack finishes going back.
func (t *Turn) goOnBack(ctx context.Context, begun *Switching) (Outcome, error) {
	if wait := t.tooEarly(ctx, begun.Commit, t.cfg.settings()); wait != nil {
		return Failed, wait
	}
	ctx, cancel := deadline(ctx, t.cfg.Timeout)
	defer cancel()
	var unwell error
	to := t.store.history.find(begun.Back)
	err := error(&lostError{errors.New("the deploy that pgo was going back to is no longer kept")})
	if to != nil {
		t.store.journal.begin(heading("going back to " + to.Commit.Short()))
		o := order{out: t.store.journal.recorded(compose.Output{})}
		_, unwell, err = t.goBack(ctx, to, begun.why(), o)
		t.conclude(errors.Join(err, unwell))
	}
	t.faults.note(begun.Commit, t.cfg.settings(), err, backWait, t.obstacles.surroundings(ctx)) // nothing runs meanwhile
	if errors.As(err, new(*lostError)) {
		// Nothing is left to go back to.
		return Failed, errors.Join(err, t.store.update(func(st *State) { st.Switching, st.Deployed = nil, nil }))
	}
	if err == nil {
		err = unwell
	}
	return outcomeOf(err), err
}

// condemnedError is an earlier verdict.
type condemnedError struct{ *Verdict }

func (e *condemnedError) Error() string     { return e.Verdict.Error }
func (e *condemnedError) Details() []string { return e.Verdict.Details }
