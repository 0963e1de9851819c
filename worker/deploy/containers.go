package deploy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/target"
	"pgo/worker/compose"
)

// toRemember returns what to remember of containers: what they are, what somebody has
// stopped, and the jobs that were done before.
func toRemember(boot string, containers []compose.Container, stopped, done []string) Containers {
	known := Containers{Boot: boot, Stopped: stopped, Finished: done}
	for _, c := range containers {
		switch {
		case c.State == "running" || c.State == "restarting":
			known.Running = add(known.Running, c.Service)
		case c.Done():
			known.Finished = add(known.Finished, c.Service)
		}
	}
	for _, name := range known.Running {
		known.Finished = remove(known.Finished, name)
	}
	return known
}

// containers manages the containers that run what is deployed.
type containers struct {
	name    string
	timeout time.Duration
	engine  *compose.Engine
	store   *store
	board   *board
	files   *workspace
	starter *starter
	redact  func(string) string
	log     hclog.Logger

	healing healing
}

// whatRuns asks the engine for its boot and the containers.
func (cs *containers) whatRuns(ctx context.Context) (boot string, containers []compose.Container, err error) {
	if boot, err = cs.engine.Boot(ctx); err == nil {
		containers, err = cs.engine.Containers(ctx, cs.name)
	}
	return boot, containers, err
}

// add returns the sorted set with name in it.
func add(set []string, name string) []string {
	if i, found := slices.BinarySearch(set, name); !found {
		return slices.Insert(slices.Clone(set), i, name)
	}
	return set
}

// remove returns the set without name.
func remove(set []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(set), func(n string) bool { return n == name })
}

// unfinished returns the compose services that lack a container that runs or has done its
// work.
func unfinished(model *compose.Model, containers []compose.Container) []string {
	fine := map[string]int{}
	for _, c := range containers {
		if c.State == "running" || c.Done() {
			fine[c.Service]++
		}
	}
	var names []string
	for _, name := range model.Services() {
		if fine[name] < model.Replicas(name) {
			names = append(names, name)
		}
	}
	return names
}

// withNeeds returns the given compose services and the unfinished ones that they depend on.
// Compose itself would run a job again that one of them waited for.
func (cs *containers) withNeeds(ctx context.Context, model *compose.Model, services []string) ([]string, error) {
	containers, err := cs.engine.Containers(ctx, cs.name)
	if err != nil {
		return nil, err
	}
	missing := unfinished(model, containers)
	all := slices.Clone(services)
	for _, name := range model.Needs(services) {
		if slices.Contains(missing, name) {
			all = append(all, name)
		}
	}
	return all, nil
}

// startSome starts some compose services of what is deployed, and what they need.
func (cs *containers) startSome(ctx context.Context, model *compose.Model, args target.Args, out compose.Output) (err error) {
	if args.Services, err = cs.withNeeds(ctx, model, args.Services); err != nil {
		return err
	}
	var flags []string
	if args.Has("--force-recreate") {
		flags = append(flags, "--force-recreate")
	}
	return cs.startDeployed(ctx, out, args.Services, flags...)
}

// startMissing starts what does not run and has not done its work either: a job that exited
// with 0 is not run again. It also puts right what somebody has changed by hand.
func (cs *containers) startMissing(ctx context.Context, out compose.Output) error {
	ctx, cancel := deadline(ctx, cs.timeout)
	defer cancel()
	model, err := cs.files.loadDeployed()
	if err != nil {
		return err
	}
	containers, err := cs.engine.Containers(ctx, cs.name)
	if err != nil {
		return err
	}
	services := slices.DeleteFunc(unfinished(model, containers), func(name string) bool {
		return slices.Contains(cs.store.snapshot().Containers.Finished, name) // a job that is done, and whose container is gone
	})
	if len(containers) == 0 || cs.store.snapshot().Retired {
		services = model.Services() // including its jobs, which belong to the containers that are gone
	}
	other, strays := astray(model, containers, cs.store.snapshot()), strays(model, containers)
	for _, name := range tooMany(model, containers) {
		services = add(services, name)
	}
	if len(services)+len(other)+len(strays) == 0 {
		say(out, "up to date: there is nothing to start")
		return nil
	}
	for _, c := range strays {
		say(out, "removing %s: it is of no compose service of the file", c.Name)
		if err := cs.engine.End(ctx, c.ID); err != nil {
			return err
		}
	}
	return cs.startAndRemake(ctx, out, model, services, other)
}

// startAndRemake starts some compose services, and makes the containers of others anew.
func (cs *containers) startAndRemake(ctx context.Context, out compose.Output, model *compose.Model, services, other []string) error {
	if len(services) > 0 {
		if err := cs.startDeployed(ctx, out, some(services, model)); err != nil {
			return err
		}
		// That may have made some of the others anew.
		containers, err := cs.engine.Containers(ctx, cs.name)
		if err != nil {
			return err
		}
		other = astray(model, containers, cs.store.snapshot())
	}
	if len(other) == 0 {
		return nil
	}
	say(out, "made anew, as somebody has changed it: %s", joined(other))
	return cs.startDeployed(ctx, out, some(other, model), "--force-recreate")
}

// some returns services, or nil if these are all compose services of the model.
func some(services []string, model *compose.Model) []string {
	if slices.Equal(services, model.Services()) {
		return nil
	}
	return append([]string{}, services...)
}

// startDeployed starts the given compose services of what is deployed, nil meaning all, if
// the policy still accepts its sources, and remembers what runs then.
func (cs *containers) startDeployed(ctx context.Context, out compose.Output, services []string, flags ...string) error {
	state := cs.store.snapshot()
	if state.Deployed == nil {
		return ErrNothingDeployed
	}
	model, err := cs.files.loadDeployed()
	if err != nil {
		return err
	}
	c := cs.starter.deployed(model)
	if err := cs.starter.start(ctx, out, c, services, flags...); err != nil {
		if !networkGone.MatchString(err.Error()) {
			return err
		}
		// A container keeps the network that it was created with, even if that is gone.
		say(out, "its network was created anew, and so are the containers that do not run")
		if err := cs.starter.start(ctx, out, c, services, "--force-recreate"); err != nil {
			return err
		}
	}
	if err := cs.catchUp(ctx, out, c); err != nil {
		return err
	}
	return cs.look(ctx, false)
}

// look remembers which containers run. After the engine was away these are not yet those
// that should run: Heal finds that out, and then says that it is settled.
func (cs *containers) look(ctx context.Context, settled bool) error {
	boot, containers, err := cs.whatRuns(ctx)
	if err != nil {
		return fmt.Errorf("cannot find out what runs: %w", err)
	}
	old := cs.store.snapshot().Containers
	known := toRemember(boot, containers, old.Stopped, old.Finished)
	if old.Boot != "" && old.Boot != boot && !settled {
		known.Boot = old.Boot
		for _, name := range old.Running {
			known.Running = add(known.Running, name)
		}
	}
	if known.same(old) {
		return nil
	}
	return cs.store.update(func(st *State) { st.Containers = known })
}
