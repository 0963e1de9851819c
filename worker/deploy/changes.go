package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgo/internal/nearest"
	"pgo/internal/target"
	"pgo/worker/compose"
)

// pinTime is how long the commit of a pull stays the one to act on.
const pinTime = 30 * time.Minute

// SyncProxy writes the proxy's snippet, if it is new or somebody changed the file, and
// tells the proxy. Problems are in the status.
func (t *Turn) SyncProxy(ctx context.Context) { t.syncProxy(ctx) }

// Heal brings back what somebody took away. It returns when to look again; 0 means when
// something happens.
func (t *Turn) Heal(ctx context.Context) (again time.Duration, err error) {
	again, err = t.containers.heal(ctx)
	if err == nil {
		t.lookAtVolumes(ctx)
	}
	return again, err
}

// GitPull fetches the branch.
func (t *Turn) GitPull(ctx context.Context, out compose.Output) error {
	head, err := t.branch.fetch(ctx)
	t.board.idle()
	if err != nil {
		return err
	}
	info, err := t.repo.Commit(head)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out.Stdout, "%s %s\n", head.Short(), info.Subject)
	return nil
}

// Up fetches the branch, deploys its head and ends a Down. If there is nothing new, it
// starts what is missing or stopped. If compose services are named, it only starts those,
// as they are deployed.
func (t *Turn) Up(ctx context.Context, by string, args target.Args, out compose.Output) error {
	if err := t.store.usable(); err != nil {
		return err
	}
	if len(args.Services) > 0 {
		return t.upSome(ctx, args, out)
	}
	if frozen := t.store.snapshot().Frozen; frozen != nil {
		return &FrozenError{frozen}
	}
	commit, err := t.branch.newest(ctx, out)
	if err != nil {
		t.board.idle()
		return err
	}
	if err := t.store.update(func(st *State) {
		st.Wanted, st.Pin, st.Outages, st.Containers.Stopped = Up, nil, nil, nil
	}); err != nil {
		return err
	}
	t.isDown = false
	o := order{
		trigger: "up by " + by,
		told:    true,
		force:   args.Has("--force-recreate"),
		build:   args.Has("--build"),
		pull:    args.Value("--pull"),
		out:     out,
	}
	if o.pull == "" {
		o.pull = "missing"
	}
	switched, outcome, err := t.attempt(ctx, commit, o)
	if err == nil && !switched {
		err = t.containers.startMissing(ctx, out)
	} else if err == nil {
		say(out, "deployed %s", t.store.snapshot().Deployed.Commit.Short())
	}
	t.board.ended(outcome, err)
	return err
}

// upSome starts some compose services of what is deployed, and what they need.
func (t *Turn) upSome(ctx context.Context, args target.Args, out compose.Output) error {
	if args.Has("--build") || args.Has("--pull") {
		return target.Usagef("up with service names starts them as they are deployed, and accepts only --force-recreate; up without names builds and pulls")
	}
	state := t.store.snapshot()
	if state.Deployed == nil || state.Switching != nil {
		return ErrNothingDeployed
	}
	model, err := t.files.loadDeployed()
	if err != nil {
		return err
	}
	if err := checkNames(model, args.Services); err != nil {
		return err
	}
	needed := slices.Concat(args.Services, model.Needs(args.Services))
	if err := t.store.update(func(st *State) {
		stopped := st.Containers.Stopped
		if st.Wanted == Down {
			stopped = model.Services() // nobody has asked for the others
		}
		for _, name := range needed {
			stopped = remove(stopped, name)
		}
		st.Wanted, st.Containers.Stopped = Up, stopped
	}); err != nil {
		return err
	}
	t.isDown = false
	ctx, cancel := deadline(ctx, t.cfg.Timeout)
	defer cancel()
	t.board.setActivity("up")
	err = t.containers.startSome(ctx, model, args, out)
	t.board.idle()
	return err
}

// checkNames returns an error if one of the names is not a compose service of the model.
func checkNames(model *compose.Model, services []string) error {
	return checkKnown(model.Services(), services)
}

// checkKnown returns an error if one of the names is not among the known compose services.
func checkKnown(known, services []string) error {
	for _, name := range services {
		if slices.Contains(known, name) {
			continue
		}
		hint := ""
		if word, near := nearest.Word(name, known); near {
			hint = " (did you mean " + word + "?)"
		}
		return target.Usagef("no such service: %s%s; %s", name, hint, thereAre(known))
	}
	return nil
}

// thereAre lists what could have been named.
func thereAre(names []string) string {
	switch len(names) {
	case 0:
		return "there is none"
	case 1:
		return "there is only " + names[0]
	}
	return "there are " + strings.Join(names, ", ")
}

// Down takes the service down and keeps it down.
func (t *Turn) Down(ctx context.Context, args target.Args, out compose.Output) error {
	if err := t.store.usable(); err != nil {
		return err
	}
	if err := t.strangers(ctx, nil); errors.As(err, new(*strangerError)) {
		return &stepError{"take down", t.cfg.Name, err}
	}
	if err := t.store.update(func(st *State) { st.Wanted, st.Containers.Stopped = Down, nil }); err != nil {
		return err
	}
	t.isDown = false
	ctx, cancel := deadline(ctx, t.cfg.Timeout)
	defer cancel()
	t.board.setActivity("down")
	err := t.takeDown(ctx, out, args.Words()...)
	t.board.ended(TakenDown, err)
	return err
}

// Stop stops all containers, or those of some compose services, until somebody starts them
// again.
func (t *Turn) Stop(ctx context.Context, args target.Args, out compose.Output) error {
	stopped := func(st *State, services []string) {
		for _, name := range services {
			st.Containers.Stopped = add(st.Containers.Stopped, name)
			st.Containers.Running = remove(st.Containers.Running, name)
		}
	}
	return t.onServices(ctx, "stop", args, out, stopped, func(ctx context.Context, _ *compose.Model) error {
		return t.files.onDeployed(ctx, out, append([]string{"stop"}, args.Words()...)...)
	})
}

// Start starts what is stopped, for all or some compose services. A job that is done is not
// run again unless it is named.
func (t *Turn) Start(ctx context.Context, args target.Args, out compose.Output) error {
	return t.onServices(ctx, "start", args, out, started, func(ctx context.Context, model *compose.Model) error {
		if len(args.Services) == 0 {
			return t.containers.startMissing(ctx, out)
		}
		return t.containers.startSome(ctx, model, args, out)
	})
}

// Restart stops and starts all containers, or those of some compose services.
func (t *Turn) Restart(ctx context.Context, args target.Args, out compose.Output) error {
	return t.onServices(ctx, "restart", args, out, started, func(ctx context.Context, model *compose.Model) error {
		if t.store.snapshot().Retired {
			// A retired container must not run again: what it mounts may lead elsewhere by now.
			services := args.Services
			if len(services) == 0 {
				services = model.Services()
			}
			return t.containers.startDeployed(ctx, out, some(services, model))
		}
		if err := t.starter.mayRestart(ctx, model, args.Services); err != nil {
			return err
		}
		return t.files.onDeployed(ctx, out, append([]string{"restart"}, args.Words()...)...)
	})
}

func started(st *State, services []string) {
	for _, name := range services {
		st.Containers.Stopped = remove(st.Containers.Stopped, name)
	}
}

// onServices does something to some or all compose services of what is deployed. What has
// to be remembered of it is saved before it begins.
func (t *Turn) onServices(ctx context.Context, activity string, args target.Args, out compose.Output,
	remember func(*State, []string), do func(context.Context, *compose.Model) error) error {
	if err := t.store.usable(); err != nil {
		return err
	}
	state := t.store.snapshot()
	if state.Deployed == nil || state.Switching != nil {
		return ErrNothingDeployed
	}
	if state.Wanted == Down {
		return ErrIsDown
	}
	model, err := t.files.loadDeployed()
	if err != nil {
		return err
	}
	services := args.Services
	if err := checkNames(model, services); err != nil {
		return err
	}
	if len(services) == 0 {
		services = model.Services()
	}
	if err := t.store.update(func(st *State) { remember(st, services) }); err != nil {
		return err
	}
	ctx, cancel := deadline(ctx, t.cfg.Timeout)
	defer cancel()
	t.board.setActivity(activity)
	if err = do(ctx, model); err == nil {
		err = t.containers.look(ctx, false)
	}
	t.board.idle()
	return err
}

// Pull fetches the branch, checks its head and pulls the images. It leaves what runs alone.
// For a while from then on, Build and Up act on that commit.
func (t *Turn) Pull(ctx context.Context, by string, args target.Args, out compose.Output) error {
	if err := t.store.usable(); err != nil {
		return err
	}
	ctx, cancel := deadline(ctx, t.cfg.Timeout)
	defer cancel()
	err := t.pullHead(ctx, by, args, out)
	t.board.idle()
	return err
}

func (t *Turn) pullHead(ctx context.Context, by string, args target.Args, out compose.Output) error {
	head, err := t.branch.fetch(ctx)
	if err != nil {
		return err
	}
	r := t.prover.newRecord(head, "pull by "+by)
	c, err := t.prover.propose(ctx, head, r)
	sayWarnings(out, r)
	if err != nil {
		return err
	}
	say(out, "fetched %s", head.Short())
	before, err := t.engine.Images().IDs(ctx, c.images)
	if err != nil {
		return err
	}
	if err := t.images.pull(ctx, c, out, compose.Pullable(c.resolved, t.cfg.Name), args.Words()...); err != nil {
		return err
	}
	if err := t.images.came(ctx, c, before); err != nil {
		return err
	}
	// The objects come first, then the pin that promises them.
	if err := t.tree.keep(head); err != nil {
		return err
	}
	until := time.Now().Add(pinTime)
	if err := t.store.update(func(st *State) { st.Pin = &Pin{Commit: head, By: by, Until: until} }); err != nil {
		return err
	}
	say(out, "build and up use %s until %s", head.Short(), until.UTC().Format("15:04 UTC"))
	return nil
}

// Build fetches the branch, and builds the images of its head. It leaves what runs alone.
func (t *Turn) Build(ctx context.Context, args target.Args, out compose.Output) error {
	if err := t.store.usable(); err != nil {
		return err
	}
	ctx, cancel := deadline(ctx, t.cfg.Timeout)
	defer cancel()
	err := t.buildHead(ctx, args, out)
	t.board.idle()
	return err
}

func (t *Turn) buildHead(ctx context.Context, args target.Args, out compose.Output) error {
	commit, err := t.branch.newest(ctx, out)
	if err != nil {
		return err
	}
	r := t.prover.newRecord(commit, "build")
	c, err := t.prover.propose(ctx, commit, r)
	sayWarnings(out, r)
	if err != nil {
		return err
	}
	before, err := t.engine.Images().IDs(ctx, c.images)
	if err != nil {
		return err
	}
	if err := t.images.build(ctx, c, before, out, args.Words()...); err != nil {
		return err
	}
	return t.images.came(ctx, c, before)
}
