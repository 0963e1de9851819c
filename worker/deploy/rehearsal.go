package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/policy"
	"pgo/worker/compose"
)

// rehearsal creates containers of a candidate next to what runs, checks them against the policy, and
// removes them: what only the engine finds is found before anything stops. They never run.
type rehearsal struct {
	name    string
	engine  *compose.Engine
	store   *store
	board   *board
	files   *workspace
	starter *starter
	ahead   *ahead
	redact  func(string) string
	log     hclog.Logger
}

// services returns the compose services to rehearse: those that ask the engine for something new and
// that are not made next to what runs anyway.
func (r *rehearsal) services(ctx context.Context, c *candidate) ([]string, error) {
	state := r.store.snapshot()
	deployed, err := r.files.loadDeployed()
	if err != nil || state.Switching != nil || !state.Deployed.good() {
		return nil, nil // it is not known what runs
	}
	containers, err := r.engine.Containers(ctx, r.name)
	if err != nil {
		return nil, err
	}
	running := false
	for _, container := range containers {
		switch container.State {
		case "paused", "dead", "removing": // compose fails at these
			return nil, nil
		}
		running = running || container.State == "running"
	}
	if !running {
		return nil, nil // a failure stops nothing
	}
	first := r.ahead.chosen(c)
	var services []string
	for _, service := range c.resolved.Services() {
		if c.resolved.Replicas(service) > 0 && !slices.Contains(first, service) && compose.CanRehearse(c.resolved, service) &&
			compose.AsksAnew(deployed, c.resolved, service) {
			services = append(services, service)
		}
	}
	return services, nil
}

// run rehearses the candidate. It returns an error only if the engine says that a container cannot be
// as the compose file has it, or makes something else than was checked: whatever else is in the way
// may be so for the rehearsal alone, for example a file that is not in the checkout yet.
func (r *rehearsal) run(ctx context.Context, c *candidate) error {
	err := r.rehearse(ctx, c)
	if err == nil || isVerdict(err) || errors.As(err, new(*madeError)) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.log.Info("cannot find out before the switch whether the engine makes everything", "commit", c.commit.Short(), "error", r.redact(err.Error()))
	return nil
}

func (r *rehearsal) rehearse(ctx context.Context, c *candidate) error {
	if err := compose.EndRehearsal(ctx, r.engine, r.name); err != nil {
		return err // of an earlier worker
	}
	services, err := r.services(ctx, c)
	if err != nil || len(services) == 0 {
		return err
	}
	r.board.enter(StepRehearse, c.commit)
	names := c.resolved.VolumeNames()
	before, err := r.engine.Volumes(ctx, names)
	if err != nil {
		return err
	}
	model, err := r.starter.named(ctx, c, before)
	if err != nil {
		return err
	}
	model.RunImages(c.record.Images) // what is built has no other name for it
	model = compose.Rehearsal(model, services)
	if err := r.files.save(rehearsalModel, model.Encode()); err != nil {
		return err
	}
	defer r.end(ctx, c, before)
	args := []string{"up", "--no-start", "--no-recreate", "--no-deps", "--no-build", "--pull", "never"}
	containers, err := r.engine.Containers(ctx, r.name)
	if err != nil {
		return err
	}
	for _, service := range services {
		there := 0
		for _, container := range containers {
			if container.Service == service {
				there++
			}
		}
		args = append(args, "--scale", fmt.Sprintf("%s=%d", service, there+1))
	}
	args = append(append(args, "--"), services...)
	if err := r.files.inCheckout(ctx, r.files.path(rehearsalModel), compose.Output{}, args...); err != nil {
		if compose.Refused(err) {
			err = verdict{err}
		}
		return err
	}
	return r.check(ctx, c, model)
}

// check compares what the engine has made with what was checked.
func (r *rehearsal) check(ctx context.Context, c *candidate, model *compose.Model) error {
	made, err := r.engine.Made(ctx, r.name)
	if err != nil {
		return err
	}
	made.Containers, made.Networks = compose.Rehearsed(made.Containers), nil
	refusals := policy.CheckMade(r.starter.around.limits(), model.Document(), made, c.record.Images)
	if len(refusals) > 0 {
		// The engine may have other defaults by now.
		if made.Runtime, made.Cgroupns, made.LogDriver, err = r.engine.Defaults(ctx, true); err != nil {
			return err
		}
		refusals = policy.CheckMade(r.starter.around.limits(), model.Document(), made, c.record.Images)
	}
	if len(refusals) == 0 {
		return nil
	}
	for _, refusal := range refusals {
		r.log.Error("attack: what the engine created differs from what was checked; it is removed and not started",
			"commit", c.commit.Short(), "refusal", r.redact(refusal.String()))
	}
	return &madeError{c.commit.Short(), refuse(r.redact, c, refusals)}
}

// rehearsalEndTime bounds the removal of what was rehearsed.
const rehearsalEndTime = time.Minute

// end removes what was made, even if whoever asked has left.
func (r *rehearsal) end(ctx context.Context, c *candidate, before map[string]compose.Volume) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rehearsalEndTime)
	defer cancel()
	err := compose.EndRehearsal(ctx, r.engine, r.name)
	now, cannot := r.engine.Volumes(ctx, c.resolved.VolumeNames())
	if cannot == nil {
		cannot = r.engine.Unmake(ctx, nil, newVolumes(c.resolved, now, before, r.name), nil)
	}
	err = errors.Join(err, cannot)
	if err != nil {
		r.log.Warn("cannot remove all that was only made to see whether it can be", "error", err)
	}
}
