package deploy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// note records a commit that brings nothing new: the checkout follows, and what runs stays
// as it is.
func (d *deployer) note(ctx context.Context, c *candidate) error {
	state := d.store.snapshot()
	if state.Deployed.Basis == c.record.Basis && state.Verdict == nil && slices.Equal(state.Deployed.Warnings, c.record.Warnings) {
		return nil
	}
	if err := d.tree.move(ctx, c.commit); err != nil {
		return err
	}
	if err := d.store.history.amend(state.Deployed.Number, func(r *Record) { r.Tree = c.record.Commit }); err != nil {
		return err
	}
	// What runs is what was deployed before, under this commit's name.
	noted := *state.Deployed
	noted.Basis, noted.Tree = c.record.Basis, c.record.Commit
	noted.Inputs, noted.Contexts, noted.Warnings, noted.Ways = c.record.Inputs, c.record.Contexts, c.record.Warnings, c.record.Ways
	return d.store.update(func(st *State) { st.Deployed, st.Verdict = &noted, nil })
}

// holdBack ends a deploy that nobody has asked for: it is only known that the commit could
// be deployed.
func (d *deployer) holdBack(c *candidate) error {
	d.held = c.record.Basis
	state := d.store.snapshot()
	if runs := state.Deployed; runs != nil && runs.Commit == c.record.Commit && !c.differs() {
		noted := *runs
		noted.Basis = c.record.Basis
		return d.store.update(func(st *State) { st.Deployed = &noted })
	}
	return nil
}

// prepare finds what would be in the way of a switch, before it begins.
func (d *deployer) prepare(ctx context.Context, c *candidate) error {
	if err := d.repo.CanSwitch(ctx, d.store.snapshot().Checkout, c.commit, d.files.checkout()); err != nil {
		return &stepError{"bring the checkout to", c.commit.Short(), err}
	}
	for _, service := range c.resolved.Services() {
		if c.record.Images[service] == "" {
			return &stepError{"start", c.commit.Short(), fmt.Errorf("there is no image %s for %s, and it is neither pulled nor built: "+
				"make sure that it can be, or docker load it", c.images[service], service)}
		}
	}
	if err := d.strangers(ctx, c); err != nil {
		return &stepError{"start", c.commit.Short(), err}
	}
	missing, err := d.engine.Missing(ctx, c.resolved.Outside("networks"), c.resolved.Outside("volumes"))
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return &stepError{"start", c.commit.Short(), &missingError{missing}}
	}
	if err := decide(ctx, d, c); err != nil {
		return &stepError{"start", c.commit.Short(), err}
	}
	for _, inTheWay := range []func(context.Context, *candidate) error{
		d.ahead.room, d.obstacles.engineIsNewEnough, d.ports.free, d.obstacles.namesAreFree, d.obstacles.networksAreFree, d.obstacles.networksCanBeMade,
	} {
		if err := inTheWay(ctx, c); err != nil {
			return &stepError{"start", c.commit.Short(), err}
		}
	}
	if err := d.proxy.try(); err != nil {
		return &stepError{"start", c.commit.Short(), err}
	}
	if err := d.rehearsal.run(ctx, c); err != nil {
		return &stepError{"start", c.commit.Short(), err}
	}
	return nil
}

// decide finds out whether what runs can be replaced in place, unless that is known.
func decide(ctx context.Context, d *deployer, c *candidate) error {
	if c.decided {
		return nil
	}
	if d.cfg.InPlace {
		why, err := "an earlier switch did not end", error(nil)
		if !d.store.snapshot().Retired {
			why, err = d.tree.notInPlace(ctx, c)
		}
		if networks, cannot := d.obstacles.redefined(ctx, c); why == "" && err == nil {
			if err = cannot; len(networks) > 0 {
				why = "the network " + brief(networks[0]) + " is defined otherwise"
			}
		}
		if err != nil {
			return err
		}
		c.why = why
	}
	c.decided, c.anew = true, !d.cfg.InPlace || c.why != ""
	return nil
}

// missingError lists what somebody else has yet to create.
type missingError struct{ what []string }

func (e *missingError) Error() string {
	text := e.what[0]
	for _, more := range e.what[1:] {
		text += ", " + more
	}
	return text + " is declared as external and does not exist yet: create it, or start the service that creates it; it is tried again"
}

// switchTo replaces what runs. A crash while Switching is set leaves it set, and the next
// worker finishes the switch.
func (d *deployer) switchTo(ctx context.Context, c *candidate, o order) error {
	d.board.enter(StepSwitch, c.commit)
	if err := decide(ctx, d, c); err != nil {
		return err
	}
	if c.why != "" {
		say(o.out, "not in place this time: %s", c.why)
	}
	if !c.anew {
		d.compareRunning(c)
		d.ahead.jobsDone(c, d.store.snapshot().Switching)
		if err := d.ahead.plan(ctx, c); err != nil {
			return err
		}
	}
	begun := &Switching{Commit: c.commit, Back: c.back, Freeze: c.freeze, Forced: c.forced}
	if err := d.ahead.begin(ctx, begun); err != nil {
		return err
	}
	if err := d.store.update(func(st *State) {
		st.Switching = begun
		st.Deploys = max(st.Deploys, c.record.Number)
		st.Retired = st.Retired || c.anew
		st.Containers = Containers{Stopped: st.Containers.Stopped, Finished: c.done}
	}); err != nil {
		return err
	}
	if c.anew {
		d.board.enter(StepDown, c.commit)
		if err := d.retire(ctx, c, o); err != nil {
			return &stepError{"stop what runs to deploy", c.commit.Short(), err}
		}
	}
	d.board.enter(StepCheckout, c.commit)
	if err := d.tree.move(ctx, c.commit, c.retired...); err != nil {
		return err
	}
	if err := d.proxy.write(c.resolved); err != nil {
		return &stepError{"start", c.commit.Short(), err}
	}
	if c.anew {
		if err := d.proxy.startsKnowing(c.resolved); err != nil {
			return err
		}
	}
	d.board.enter(StepModel, c.commit)
	if err := d.files.save(deployedModel, c.model); err != nil {
		return err
	}
	return nil
}

// resumes reports whether the containers of the candidate are made already: an earlier worker
// ended while it started them or watched them. If so, their images are the candidate's, and jobs
// that have ended since are not run again.
func (d *deployer) resumes(ctx context.Context, c *candidate) (bool, error) {
	state := d.store.snapshot()
	begun := state.Switching
	if begun == nil || begun.Made == "" || begun.Commit != c.commit || begun.Back != c.back || !slices.Equal(state.Checkout, []gitrepo.Hash{c.commit}) {
		return false, nil
	}
	saved, err := os.ReadFile(d.files.path(deployedModel))
	if err != nil || !bytes.Equal(saved, c.model) {
		return false, nil
	}
	boot, err := d.engine.Boot(ctx)
	if err != nil {
		return false, &stepError{"start", c.commit.Short(), err}
	}
	containers, err := d.gate.containers(ctx, c)
	if err != nil {
		return false, &stepError{"start", c.commit.Short(), err}
	}
	images, ended := map[string]string{}, map[string]int{}
	for _, made := range containers {
		images[made.Service] = made.Image
		if made.Done() && boot == begun.Made {
			killed, err := d.engine.WasKilled(ctx, made)
			if err != nil {
				return false, &stepError{"start", c.commit.Short(), err}
			}
			if !killed {
				ended[made.Service]++
			}
		}
	}
	for service, n := range c.resolved.Wanted() {
		switch {
		case n > 0 && images[service] == "" && !slices.Contains(state.Containers.Stopped, service):
			return false, nil // somebody has removed it, so it is not known what it was
		case n > 0 && ended[service] == n:
			c.done = add(c.done, service)
		}
	}
	if c.back == 0 {
		c.record.Images = images
		c.record.Number = state.Deploys // it is the deploy that was begun
		return true, nil
	}
	for service, id := range images {
		if c.record.Images[service] != id {
			return false, nil
		}
	}
	return true, nil
}

// compareRunning finds the jobs that are done and do not differ, before what runs is
// replaced in place: they are not run again.
func (d *deployer) compareRunning(c *candidate) {
	state := d.store.snapshot()
	deployed, err := d.files.loadDeployed()
	if err != nil || state.Deployed == nil {
		return
	}
	for _, name := range state.Containers.Finished {
		if compose.SameService(deployed, c.resolved, name) && state.Deployed.Images[name] == c.record.Images[name] &&
			d.files.inputs(deployed, name, state.Deployed) == d.files.inputs(c.resolved, name, c.record) {
			c.done = append(c.done, name)
		}
	}
}

// finish records the deploy as the one that runs. Only that can fail: everything else can
// be done later, and is not a reason to touch what is healthy.
func (d *deployer) finish(ctx context.Context, c *candidate) error {
	r := c.record
	d.board.enter(StepRecord, c.commit)
	boot, containers, err := d.containers.whatRuns(ctx)
	if err != nil {
		d.log.Warn("cannot find out what runs", "error", err)
	}
	r.Outcome, r.Duration, r.Tree = Deployed, time.Since(r.At), c.commit
	err = d.store.update(func(st *State) {
		st.Deployed, st.Switching, st.Outages = r, nil, nil
		st.Containers = toRemember(boot, containers, st.Containers.Stopped, c.done)
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
	if err := d.store.history.add(*r); err != nil {
		d.log.Warn("a deploy is missing from the history", "error", err)
	}
	if err := d.secure(ctx); err != nil {
		d.log.Warn("cannot keep what is needed to go back to this deploy; it is tried again", "error", err)
	}
	return nil
}

// secure keeps everything needed to go back to what is deployed, and releases what was
// needed for older deploys. It may be repeated at any time.
func (d *deployer) secure(ctx context.Context) error {
	r := d.store.snapshot().Deployed
	commit := r.Commit
	d.board.enter(StepPin, commit)
	if err := d.images.keep(ctx, r); err != nil {
		return fmt.Errorf("cannot keep its images: %w", err)
	}
	model, err := d.files.loadDeployed()
	if err != nil {
		return err
	}
	if err := d.store.history.keep(*r, model.Encode(), r.Number); err != nil {
		return err
	}
	d.board.enter(StepPrune, commit)
	d.images.prune(ctx)
	return d.tree.keep()
}

// secured reports whether pgo can go back to what is deployed.
func (d *deployer) secured() bool {
	state := d.store.snapshot()
	return !state.Deployed.good() || state.Switching != nil || d.store.history.find(state.Deployed.Number) != nil
}
