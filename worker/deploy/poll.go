package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// Resume brings what runs in line with what is wanted after the worker's start,
// where a crash can have left it in between. It is a change.
func (s *Service) Resume(ctx context.Context) error {
	s.SyncProxy(ctx) // it does not wait for a git server
	if s.snapshot().Wanted != Down {
		return nil // the first Poll does it
	}
	err := s.stayDown(ctx)
	s.ended(TakenDown, err)
	return err
}

// stayDown takes down what is wanted down, unless that has worked before: the
// engine may have been away when somebody said down, or at the worker's start.
func (s *Service) stayDown(ctx context.Context) error {
	if s.isDown {
		return nil
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return s.takeDown(ctx, compose.Output{})
}

// Poll looks at the branch and deploys it if it moved. It is a change.
func (s *Service) Poll(ctx context.Context) error {
	before, _ := s.repo.Head()
	outcome, err := s.poll(ctx)
	s.SyncProxy(ctx)
	s.ended(outcome, err)
	if head, _ := s.repo.Head(); head != before {
		if err := s.repo.Compact(ctx); err != nil {
			s.log.Warn("cannot make the git repository small again", "error", err)
		}
	}
	return err
}

func (s *Service) poll(ctx context.Context) (Outcome, error) {
	if begun := s.snapshot().Switching; begun != nil && begun.Back != 0 && s.snapshot().Wanted == Up && s.usable() == nil {
		outcome, err := s.goOnBack(ctx, begun) // it needs no git server
		s.Refresh(ctx)                         // which has the keys
		return outcome, err
	}
	head, cannot := s.fetchSoon(ctx)
	if err := s.usable(); err != nil {
		return "", err
	}
	state := s.snapshot()
	if !s.secured() {
		if err := s.secure(ctx); err != nil {
			s.log.Warn("cannot keep what it takes to go back to what is deployed", "error", err)
		}
	}
	if state.Wanted == Down {
		if err := s.stayDown(ctx); err != nil {
			return Failed, err
		}
		return TakenDown, cannot
	}
	if state.Switching != nil {
		return s.goOn(ctx, head, cannot)
	}
	if cannot != nil {
		return "", cannot
	}
	basis, hold := s.basis(head), s.hold(state)
	switch {
	case state.Deployed.good() && state.Deployed.Basis == basis && hold == Halted:
		return Halted, nil
	case state.Deployed.good() && state.Deployed.Basis == basis:
		return Deployed, nil
	case state.condemns(basis):
		return state.Verdict.Outcome, &condemnedError{state.Verdict}
	case hold != "" && s.held == basis:
		return hold, nil
	}
	if wait := s.faults.wait(basis.Commit, basis.Settings); wait != nil {
		return Failed, wait
	}
	_, outcome, err := s.attempt(ctx, head, order{trigger: "poll", pull: "missing", hold: hold != ""})
	if outcome == Held {
		outcome = hold
	}
	return outcome, err
}

// hold returns why nothing is deployed unless somebody says so; empty: nothing
// is in the way.
func (s *Service) hold(state State) Outcome {
	switch {
	case state.Frozen != nil:
		return Halted
	case s.cfg.Ignore, state.pinned(time.Now()) != nil:
		return Held
	}
	return ""
}

// soon is how long a git server may take to answer while what runs is in between.
const soon = 20 * time.Second

// fetchSoon fetches the branch. While a switch is to be finished it does not wait
// for long.
func (s *Service) fetchSoon(ctx context.Context) (gitrepo.Hash, error) {
	if s.snapshot().Switching != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, soon, fmt.Errorf("%w: the git server did not answer within %s", context.DeadlineExceeded, soon))
		defer cancel()
	}
	return s.fetch(ctx)
}

// goOn finishes a switch that was broken off: to the head, unless that cannot be
// had, nobody has asked for it, or it does not work.
func (s *Service) goOn(ctx context.Context, head gitrepo.Hash, cannot error) (Outcome, error) {
	state := s.snapshot()
	begun := state.Switching
	commit := begun.Commit
	if cannot == nil && s.hold(state) == "" && !state.condemns(s.basis(head)) {
		commit = head
	}
	if wait := s.faults.wait(commit, s.cfg.settings()); wait != nil {
		return Failed, wait
	}
	_, outcome, err := s.attempt(ctx, commit, order{trigger: "poll", pull: "missing"})
	return outcome, err
}

// goOnBack finishes going back.
func (s *Service) goOnBack(ctx context.Context, begun *Switching) (Outcome, error) {
	if wait := s.faults.wait(begun.Commit, s.cfg.settings()); wait != nil {
		return Failed, wait
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var unwell error
	to := s.history.find(begun.Back)
	err := error(&lostError{errors.New("the deploy that was gone back to is not kept any more")})
	if to != nil {
		s.journal.begin(title("going back to " + to.Commit.Short()))
		o := order{out: s.recorded(compose.Output{})}
		_, unwell, err = s.goBack(ctx, to, "an earlier deploy did not end", o)
		s.conclude(errors.Join(err, unwell))
	}
	s.faults.note(begun.Commit, s.cfg.settings(), err)
	if errors.As(err, new(*lostError)) {
		// Nothing is left to go back to.
		return Failed, errors.Join(err, s.update(func(st *State) { st.Switching, st.Deployed = nil, nil }))
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

// fetchTries bounds how often a fetch is begun anew.
const fetchTries = 3

// fetch brings the branch's head here, if it moved. That a remote sends
// something now and then is not enough: no other change runs meanwhile.
func (s *Service) fetch(ctx context.Context) (gitrepo.Hash, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	for try := 1; ; try++ {
		head, err := s.fetchOnce(ctx)
		switch {
		case err == nil || ctx.Err() != nil || try == fetchTries:
			return head, err
		case errors.Is(err, gitrepo.ErrMoved):
			// Somebody pushed since the look.
		case errors.Is(err, gitrepo.ErrDamaged), errors.Is(err, fs.ErrNotExist):
			if err := s.rebuild(err); err != nil {
				return head, err
			}
		default:
			return head, err
		}
	}
}

// rebuild begins the repository anew: it is damaged, or somebody removed it.
func (s *Service) rebuild(reason error) error {
	s.log.Warn("rebuilding the git repository", "reason", reason)
	return s.repo.Rebuild()
}

func (s *Service) fetchOnce(ctx context.Context) (gitrepo.Hash, error) {
	remote, err := s.repo.Look(ctx)
	if err != nil {
		return gitrepo.Hash{}, err
	}
	if head, ok := s.repo.Head(); ok && head == remote {
		return head, nil
	}
	s.enter(StepFetch, remote)
	if err := s.repo.Fetch(ctx, remote); err != nil {
		return gitrepo.Hash{}, err
	}
	s.log.Info("fetched", "commit", remote.Short())
	s.changed()
	return remote, nil
}

// Refresh fetches the branch for the keys in it, while a change runs and Poll has to
// wait. What is wrong with that is for the next Poll to tell.
func (s *Service) Refresh(ctx context.Context) {
	remote, err := s.repo.Look(ctx)
	if head, ok := s.repo.Head(); err != nil || ok && head == remote {
		return
	}
	if err := s.repo.Fetch(ctx, remote); err != nil {
		s.log.Debug("cannot fetch during a change", "error", err)
		return
	}
	s.log.Info("fetched", "commit", remote.Short())
	s.changed()
}

// fetched is the commit that operations work on: the one that a pull has chosen,
// or the head.
func (s *Service) fetched() (gitrepo.Hash, error) {
	if pin := s.snapshot().pinned(time.Now()); pin != nil {
		return pin.Commit, nil
	}
	head, ok := s.repo.Head()
	if !ok {
		return head, ErrNothingFetched
	}
	return head, nil
}
