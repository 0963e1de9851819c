package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// note records a commit that brings nothing new: the checkout follows, what
// runs stays as it is.
func (s *Service) note(ctx context.Context, c *candidate) error {
	state := s.snapshot()
	if state.Deployed.Basis == c.record.Basis && state.Verdict == nil {
		return nil
	}
	if err := s.moveCheckout(ctx, c.commit); err != nil {
		return err
	}
	if err := s.history.amend(state.Deployed.Number, func(r *Record) { r.Tree = c.record.Commit }); err != nil {
		return err
	}
	// What runs is what was deployed before, under this commit's name.
	noted := *state.Deployed
	noted.Basis, noted.Tree = c.record.Basis, c.record.Commit
	noted.Inputs, noted.Contexts = c.record.Inputs, c.record.Contexts
	return s.update(func(st *State) { st.Deployed, st.Verdict = &noted, nil })
}

// holdBack ends a deploy that nobody has asked for: all that is known of the
// commit is that it could be deployed.
func (s *Service) holdBack(c *candidate) error {
	s.held = c.record.Basis
	state := s.snapshot()
	if d := state.Deployed; d != nil && d.Commit == c.record.Commit && !c.differs() {
		noted := *d
		noted.Basis = c.record.Basis
		return s.update(func(st *State) { st.Deployed = &noted })
	}
	return nil
}

// prepare finds what would be in the way of a switch, before it begins.
func (s *Service) prepare(ctx context.Context, c *candidate) error {
	if err := s.repo.CanSwitch(ctx, s.snapshot().Checkout, c.commit, s.checkout()); err != nil {
		return &stepError{"bring the checkout to", c.commit.Short(), err}
	}
	for _, service := range c.resolved.Services() {
		if c.record.Images[service] == "" {
			return &stepError{"start", c.commit.Short(), fmt.Errorf("there is no image %s for %s, and it is neither pulled nor built: "+
				"see to it that it can be, or docker load it", c.images[service], service)}
		}
	}
	missing, err := s.engine.Missing(ctx, c.resolved.Outside("networks"), c.resolved.Outside("volumes"))
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return &stepError{"start", c.commit.Short(), &missingError{missing}}
	}
	if err := s.portsFree(ctx, c); err != nil {
		return &stepError{"start", c.commit.Short(), err}
	}
	if err := s.trySnippet(); err != nil {
		return &stepError{"start", c.commit.Short(), err}
	}
	return nil
}

// missingError is what somebody else has yet to make.
type missingError struct{ what []string }

func (e *missingError) Error() string {
	text := e.what[0]
	for _, more := range e.what[1:] {
		text += ", " + more
	}
	return text + " is declared as external and does not exist yet: make it, or start the service that does; it is tried again"
}

// switchTo replaces what runs. From when Switching is set to when it is cleared
// a crash leaves it set, and the next worker finishes the switch.
func (s *Service) switchTo(ctx context.Context, c *candidate, o order) error {
	s.enter(StepSwitch, c.commit)
	inPlace := s.cfg.InPlace
	if inPlace {
		why, err := s.notInPlace(ctx, c)
		if err != nil {
			return err
		}
		if inPlace = why == ""; inPlace {
			s.compareRunning(c)
		} else {
			say(o.out, "not in place this time: %s", why)
		}
	}
	if err := s.update(func(st *State) {
		st.Switching = &Switching{Commit: c.commit, Back: c.back, Freeze: c.freeze}
		st.Deploys = max(st.Deploys, c.record.Number)
		st.Containers = Containers{Stopped: st.Containers.Stopped, Finished: c.done}
	}); err != nil {
		return err
	}
	if !inPlace {
		s.enter(StepDown, c.commit)
		if err := s.clear(ctx, o); err != nil {
			return &stepError{"take down what runs to deploy", c.commit.Short(), err}
		}
	}
	s.enter(StepCheckout, c.commit)
	if err := s.moveCheckout(ctx, c.commit); err != nil {
		return err
	}
	if err := s.writeSnippet(); err != nil {
		return &stepError{"start", c.commit.Short(), err}
	}
	if !inPlace {
		if err := s.startsKnowing(); err != nil {
			return err
		}
	}
	s.enter(StepModel, c.commit)
	if err := replaceFile(s.cfg.Dir, filepath.Base(s.deployedModel()), c.model); err != nil {
		return fmt.Errorf("cannot save the model: %w", err)
	}
	return nil
}

// clear takes down what runs, if there is anything.
func (s *Service) clear(ctx context.Context, o order) error {
	_, err := os.Stat(s.deployedModel())
	if errors.Is(err, fs.ErrNotExist) {
		containers, err := s.engine.Containers(ctx, s.cfg.Name)
		if err == nil && len(containers) == 0 {
			return nil // compose would warn of that
		}
	}
	return s.onDeployed(ctx, o.out, "down", "--remove-orphans")
}

// compareRunning finds what there is to know of what runs before it is replaced in
// place: the jobs that are done and not different, which are not run again, and
// how long its containers may take to stop.
func (s *Service) compareRunning(c *candidate) {
	state := s.snapshot()
	deployed, err := s.loadDeployed()
	if err != nil || state.Deployed == nil {
		return
	}
	c.grace = deployed.StopGrace()
	for _, name := range state.Containers.Finished {
		if compose.SameService(deployed, c.resolved, name) && state.Deployed.Images[name] == c.record.Images[name] &&
			s.inputs(deployed, name, state.Deployed) == s.inputs(c.resolved, name, c.record) {
			c.done = append(c.done, name)
		}
	}
}

// keep has git hold on to what may still be needed: the commits in the
// checkout, those that can be gone back to, the pinned one, and more.
func (s *Service) keep(more ...gitrepo.Hash) error {
	state := s.snapshot()
	commits := slices.Concat(state.Checkout, more)
	if state.Pin != nil {
		commits = append(commits, state.Pin.Commit)
	}
	if state.Switching != nil {
		commits = append(commits, state.Switching.Commit)
	}
	for _, good := range s.history.kept() {
		commits = append(commits, good.Commit, good.tree())
	}
	return s.repo.Keep(commits...)
}

// inputs identifies what a compose service uses beside its model. Compose
// compares it as a label: so a changed file has exactly those containers
// replaced that use it.
func (s *Service) inputs(model *compose.Model, service string, r *Record) string {
	h := sha256.New()
	for _, path := range model.UsedBy(service, s.checkout()) {
		fmt.Fprintf(h, "%q %q\n", path, r.Inputs[path])
	}
	for _, version := range model.Versions() {
		fmt.Fprintf(h, "%q\n", version)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// finish records the deploy as the one that runs. Only that can fail: what else
// there is to do can be done later, and is no reason to touch what is healthy.
func (s *Service) finish(ctx context.Context, c *candidate) error {
	r := c.record
	s.enter(StepRecord, c.commit)
	boot, containers, err := s.whatRuns(ctx)
	if err != nil {
		s.log.Warn("cannot see what runs", "error", err)
	}
	r.Outcome, r.Duration, r.Tree = Deployed, time.Since(r.At), c.commit
	err = s.update(func(st *State) {
		st.Deployed, st.Switching = r, nil
		st.Containers = seen(boot, containers, st.Containers.Stopped, c.done)
		if c.back == 0 {
			st.Verdict = nil
		}
		if c.freeze != nil {
			st.Frozen = c.freeze
		}
	})
	if err != nil {
		return err
	}
	if err := s.history.add(*r); err != nil {
		s.log.Warn("a deploy is missing in the history", "error", err)
	}
	if err := s.secure(ctx); err != nil {
		s.log.Warn("cannot keep what it takes to go back to this deploy; it is tried again", "error", err)
	}
	return nil
}

// secure has all be kept that it takes to go back to what is deployed, and lets
// go of what it took for older deploys. It may be done again at any time.
func (s *Service) secure(ctx context.Context) error {
	r := s.snapshot().Deployed
	commit := r.Commit
	s.enter(StepPin, commit)
	if err := s.pinImages(ctx, r); err != nil {
		return fmt.Errorf("cannot keep its images: %w", err)
	}
	model, err := s.loadDeployed()
	if err != nil {
		return err
	}
	if err := s.history.keep(*r, model.Encode(), r.Number); err != nil {
		return err
	}
	s.enter(StepPrune, commit)
	s.prune(ctx)
	return s.keep()
}

// secured tells whether what is deployed can be gone back to.
func (s *Service) secured() bool {
	state := s.snapshot()
	return !state.Deployed.good() || state.Switching != nil || s.history.find(state.Deployed.Number) != nil
}
