package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// Resume brings what runs in line with what is wanted after the worker's start,
// where a crash can have left it in between.
func (t *Turn) Resume(ctx context.Context) error {
	t.syncProxy(ctx) // it does not wait for a git server
	if t.store.snapshot().Wanted != Down {
		return nil // the first Poll does it
	}
	err := t.stayDown(ctx)
	t.board.ended(TakenDown, err)
	return err
}

// stayDown takes down what is wanted down, unless that has worked before: the
// engine may have been away when somebody said down, or at the worker's start.
func (d *deployer) stayDown(ctx context.Context) error {
	if d.isDown {
		return nil
	}
	ctx, cancel := deadline(ctx, d.cfg.Timeout)
	defer cancel()
	return d.takeDown(ctx, compose.Output{})
}

// Poll looks at the branch and deploys it if it moved.
func (t *Turn) Poll(ctx context.Context) error {
	before, _ := t.repo.Head()
	outcome, err := t.poll(ctx)
	t.syncProxy(ctx)
	t.board.ended(outcome, err)
	if head, _ := t.repo.Head(); head != before {
		if err := t.repo.Compact(ctx); err != nil {
			t.log.Warn("cannot make the git repository small again", "error", err)
		}
	}
	return err
}

func (t *Turn) poll(ctx context.Context) (Outcome, error) {
	if begun := t.store.snapshot().Switching; begun != nil && begun.Back != 0 && t.store.snapshot().Wanted == Up && t.store.usable() == nil {
		outcome, err := t.goOnBack(ctx, begun) // it needs no git server
		t.branch.refresh(ctx)                  // which has the keys
		return outcome, err
	}
	head, cannot := t.branch.fetchSoon(ctx)
	if err := t.store.usable(); err != nil {
		return "", err
	}
	state := t.store.snapshot()
	if !t.secured() {
		if err := t.secure(ctx); err != nil {
			t.log.Warn("cannot keep what it takes to go back to what is deployed", "error", err)
		}
	}
	if state.Wanted == Down {
		if err := t.stayDown(ctx); err != nil {
			return Failed, err
		}
		return TakenDown, cannot
	}
	if state.Switching != nil {
		return t.goOn(ctx, head, cannot)
	}
	if cannot != nil {
		return "", cannot
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
	if wait := t.faults.wait(basis.Commit, basis.Settings); wait != nil {
		return Failed, wait
	}
	_, outcome, err := t.attempt(ctx, head, order{trigger: "poll", pull: "missing", hold: hold != ""})
	if outcome == Held {
		outcome = hold
	}
	return outcome, err
}

// hold returns why nothing is deployed unless somebody says so; empty: nothing
// is in the way.
func (t *Turn) hold(state State) Outcome {
	switch {
	case state.Frozen != nil:
		return KeptFrozen
	case t.cfg.Ignore, state.pinned(time.Now()) != nil:
		return Held
	}
	return ""
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

// goOn finishes a switch that was broken off: to the head, unless that cannot be
// had, nobody has asked for it, or it does not work.
func (t *Turn) goOn(ctx context.Context, head gitrepo.Hash, cannot error) (Outcome, error) {
	state := t.store.snapshot()
	begun := state.Switching
	commit := begun.Commit
	if cannot == nil && t.hold(state) == "" && !state.condemns(t.around.basis(head)) {
		commit = head
	}
	if wait := t.faults.wait(commit, t.cfg.settings()); wait != nil {
		return Failed, wait
	}
	_, outcome, err := t.attempt(ctx, commit, order{trigger: "poll", pull: "missing"})
	return outcome, err
}

// goOnBack finishes going back.
func (t *Turn) goOnBack(ctx context.Context, begun *Switching) (Outcome, error) {
	if wait := t.faults.wait(begun.Commit, t.cfg.settings()); wait != nil {
		return Failed, wait
	}
	ctx, cancel := deadline(ctx, t.cfg.Timeout)
	defer cancel()
	var unwell error
	to := t.store.history.find(begun.Back)
	err := error(&lostError{errors.New("the deploy that was gone back to is not kept any more")})
	if to != nil {
		t.store.journal.begin(title("going back to " + to.Commit.Short()))
		o := order{out: t.store.journal.recorded(compose.Output{})}
		_, unwell, err = t.goBack(ctx, to, "an earlier deploy did not end", o)
		t.conclude(errors.Join(err, unwell))
	}
	t.faults.note(begun.Commit, t.cfg.settings(), err)
	if errors.As(err, new(*lostError)) {
		// Nothing is left to go back to.
		return Failed, errors.Join(err, t.store.update(func(st *State) { st.Switching, st.Deployed = nil, nil }))
	}
	if err == nil {
		err = unwell
	}
	return outcomeOf(err), err
}

// condemnedError is a verdict of earlier.
type condemnedError struct{ *Verdict }

func (e *condemnedError) Error() string     { return e.Verdict.Error }
func (e *condemnedError) Details() []string { return e.Verdict.Details }

// branch is the one that is followed, in the service's own repository.
type branch struct {
	repo    *gitrepo.Repo
	store   *store
	board   *board
	log     hclog.Logger
	timeout time.Duration
}

// fetchTries bounds how often a fetch is begun anew.
const fetchTries = 3

// fetch brings the branch's head here, if it moved. That a remote sends
// something now and then is not enough: no other change runs meanwhile.
func (b *branch) fetch(ctx context.Context) (gitrepo.Hash, error) {
	ctx, cancel := deadline(ctx, b.timeout)
	defer cancel()
	for try := 1; ; try++ {
		head, err := b.fetchOnce(ctx)
		switch {
		case err == nil || ctx.Err() != nil || try == fetchTries:
			return head, err
		case errors.Is(err, gitrepo.ErrMoved):
			// Somebody pushed since the look.
		case errors.Is(err, gitrepo.ErrDamaged), errors.Is(err, fs.ErrNotExist):
			if err := b.rebuild(err); err != nil {
				return head, err
			}
		default:
			return head, err
		}
	}
}

// rebuild begins the repository anew: it is damaged, or somebody removed it.
func (b *branch) rebuild(reason error) error {
	b.log.Warn("rebuilding the git repository", "reason", reason)
	return b.repo.Rebuild()
}

func (b *branch) fetchOnce(ctx context.Context) (gitrepo.Hash, error) {
	remote, err := b.repo.Look(ctx)
	if err != nil {
		return gitrepo.Hash{}, err
	}
	if head, ok := b.repo.Head(); ok && head == remote {
		return head, nil
	}
	b.board.enter(StepFetch, remote)
	if err := b.repo.Fetch(ctx, remote); err != nil {
		return gitrepo.Hash{}, err
	}
	b.log.Info("fetched", "commit", remote.Short())
	b.board.changed()
	return remote, nil
}

// Refresh fetches the branch for the keys in it, while a change runs and Poll has to
// wait. What is wrong with that is for the next Poll to tell.
func (b *branch) refresh(ctx context.Context) {
	remote, err := b.repo.Look(ctx)
	if head, ok := b.repo.Head(); err != nil || ok && head == remote {
		return
	}
	if err := b.repo.Fetch(ctx, remote); err != nil {
		b.log.Debug("cannot fetch during a change", "error", err)
		return
	}
	b.log.Info("fetched", "commit", remote.Short())
	b.board.changed()
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
