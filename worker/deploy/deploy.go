package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgo/internal/printable"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// order is why and how a deploy is asked for.
type order struct {
	trigger string // "poll", "up by miek"
	told    bool   // somebody said up: an image that moved by itself counts
	force   bool   // switch, even when nothing is different
	build   bool   // build, even when no context is different
	pull    string // pull policy: always, missing, never
	hold    bool   // prove the commit, and leave what runs as it is
	out     compose.Output
}

// deploy is the path from a fetched commit to running containers. Until it
// replaces what runs, nothing that runs and no file that a container can see has
// changed. It returns whether something was replaced.
func (s *Service) deploy(worker context.Context, commit gitrepo.Hash, o order, r *Record) (switched bool, err error) {
	ctx, cancel := s.deadline(worker)
	defer cancel()

	c, err := s.prove(ctx, commit, o, r)
	switch {
	case err != nil && s.snapshot().Switching != nil:
		// An earlier deploy was broken off, so it is not as if nothing was changed.
		return true, s.retreat(worker, &candidate{commit: commit, record: r}, o, err)
	case err != nil:
		return false, err
	case o.hold:
		return false, s.holdBack(c)
	case len(c.changes) == 0:
		return false, s.note(ctx, c)
	}
	return true, s.replace(worker, ctx, c, o)
}

// prove does all that can be done to find out whether a commit works without
// touching what runs.
func (s *Service) prove(ctx context.Context, commit gitrepo.Hash, o order, r *Record) (*candidate, error) {
	c, err := s.propose(ctx, commit, r)
	if err != nil || o.hold {
		return c, err
	}
	if o.force {
		c.changes = append(c.changes, "forced")
	}
	if c.differs() {
		say(o.out, "deploying %s: %s", commit.Short(), c.reason())
	}
	if err := s.pullAndBuild(ctx, c, o); err != nil {
		return nil, err
	}
	if len(c.changes) == 0 {
		// Nothing is different but the way to what is mounted.
		led, err := s.existingMovedMounts(ctx, commit)
		if err != nil {
			return nil, &stepError{"compare", commit.Short(), err}
		}
		for _, m := range firstOfEach(led) {
			c.changes = append(c.changes, "what "+m.Name+" mounts at "+brief(m.Target)+" leads elsewhere")
		}
	}
	if len(c.changes) == 0 {
		return c, nil
	}
	r.Reason = c.reason()
	return c, s.prepare(ctx, c)
}

// propose lays out a commit beside the checkout, has compose resolve it there,
// holds the model against the policy and compares it with what is deployed.
func (s *Service) propose(ctx context.Context, commit gitrepo.Hash, r *Record) (*candidate, error) {
	// Its objects stay here also when the branch moves on meanwhile.
	if err := s.keep(commit); err != nil {
		return nil, &stepError{"keep", commit.Short(), err}
	}
	c, err := s.stageAndResolve(ctx, commit, r)
	if err != nil {
		return nil, err
	}
	if err := s.check(ctx, c); err != nil {
		return nil, err
	}
	if err := s.settle(c); err != nil {
		return nil, err
	}
	s.enter(StepCompare, commit)
	return c, s.compare(c)
}

// replace makes the candidate what runs. When that fails, what ran before does
// so again, if there is such a thing and nobody wants it otherwise.
func (s *Service) replace(worker, ctx context.Context, c *candidate, o order) error {
	s.log.Info("deploying", "commit", c.commit.Short(), "trigger", c.record.Trigger, "reason", c.record.Reason)
	ctx, cancel := s.unhurried(worker, ctx)
	defer cancel()
	err := s.switchTo(ctx, c, o)
	if err == nil {
		err = s.gate(ctx, c, o)
	}
	if err != nil {
		return s.retreat(worker, c, o, err)
	}
	if err := s.finish(ctx, c); err != nil {
		return &stepError{"record the deploy of", c.commit.Short(), err}
	}
	s.log.Info("deployed", "commit", c.commit.Short())
	return nil
}

// deadline bounds a change.
func (s *Service) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.cfg.Timeout,
		fmt.Errorf("%w: the service's timeout of %s is over", context.DeadlineExceeded, s.cfg.Timeout))
}

// switchTime is what a switch may take at least, besides its gate.
const switchTime = 2 * time.Minute

// unhurried is ctx with a deadline that leaves time for the gate: what pulling and
// building took is no reason to break off between down and up.
func (s *Service) unhurried(worker, ctx context.Context) (context.Context, context.CancelFunc) {
	least := time.Now().Add(s.cfg.Gate + switchTime)
	if deadline, ok := ctx.Deadline(); !ok || deadline.After(least) {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(worker, least, fmt.Errorf("%w: the switch did not end", context.DeadlineExceeded))
}

// attempt deploys the commit, and remembers what came of it: for people in the
// history, and for the next poll when it failed by the commit's own fault.
func (s *Service) attempt(ctx context.Context, commit gitrepo.Hash, o order) (switched bool, outcome Outcome, err error) {
	s.journal.begin(title(o.trigger + ": " + commit.Short()))
	o.out = s.recorded(o.out)
	r := s.newRecord(commit, o.trigger)
	switched, err = s.deploy(ctx, commit, o, r)
	if switched || err != nil {
		s.conclude(err)
	}
	if switched {
		s.SyncProxy(ctx)
		s.judge()
	}
	if outcome = outcomeOf(err); err == nil && o.hold {
		outcome = Held
	}
	return switched, outcome, s.remember(r, err, true)
}

// newRecord begins the record of a deploy.
func (s *Service) newRecord(commit gitrepo.Hash, trigger string) *Record {
	r := &Record{Number: s.snapshot().Deploys + 1, Basis: s.basis(commit), At: time.Now(), Trigger: trigger, Engine: s.project.Host}
	if info, err := s.repo.Commit(commit); err == nil {
		r.Author, r.Subject = info.Author, info.Subject
	}
	return r
}

// conclude tells those who watch how a deploy ended. Who asked for it is told
// anyway.
func (s *Service) conclude(err error) {
	if err == nil {
		_, _ = fmt.Fprintf(&s.journal, "== %s\n", Deployed)
	} else {
		_, _ = fmt.Fprintf(&s.journal, "== %s: %s\n", outcomeOf(err), printable.Line(err.Error()))
		for _, line := range Details(err) {
			_, _ = fmt.Fprintf(&s.journal, "   %s\n", printable.Line(line)) // perhaps a container's words
		}
	}
	if err := s.journal.save(s.history.dir); err != nil {
		s.log.Warn("cannot save the deploy's output", "error", err)
	}
}

// remember keeps what a failed deploy came to, and returns its error. condemn
// says that a verdict keeps the commit from being tried again.
func (s *Service) remember(r *Record, err error, condemn bool) error {
	s.faults.note(r.Commit, r.Settings, err)
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, gitrepo.ErrDamaged) {
		return errors.Join(err, s.rebuild(err)) // the next poll fetches
	}
	failed := *r
	failed.Duration = time.Since(r.At)
	failed.fail(err)
	if err := s.history.add(failed); err != nil {
		s.log.Warn("a deploy is missing in the history", "error", err)
	}
	if !condemn || !isVerdict(err) {
		return err
	}
	return errors.Join(err, s.update(func(st *State) { st.Verdict = failed.verdict() }))
}

// verdict is the record of a failed deploy as what keeps it from being tried
// again.
func (r *Record) verdict() *Verdict {
	return &Verdict{Basis: r.Basis, Outcome: r.Outcome, At: time.Now(), Error: r.Error, Details: r.Details}
}
