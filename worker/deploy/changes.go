package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgo/internal/nearest"
	"pgo/internal/target"
	"pgo/worker/compose"
)

// pinTime is how long a pull has its commit stay the one to act on.
const pinTime = 30 * time.Minute

// GitPull fetches the branch. It is a change.
func (s *Service) GitPull(ctx context.Context, out compose.Output) error {
	head, err := s.fetch(ctx)
	s.idle()
	if err != nil {
		return err
	}
	info, err := s.repo.Commit(head)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out.Stdout, "%s %s\n", head.Short(), info.Subject)
	return nil
}

// Up deploys the fetched commit and ends a Down. Where there is nothing new it
// starts what is missing or stopped. Named compose services alone are started
// as they are deployed. It is a change.
func (s *Service) Up(ctx context.Context, by string, args target.Args, out compose.Output) error {
	if err := s.usable(); err != nil {
		return err
	}
	if len(args.Services) > 0 {
		return s.upSome(ctx, args, out)
	}
	if frozen := s.snapshot().Frozen; frozen != nil {
		return &FrozenError{frozen}
	}
	commit, err := s.fetched()
	if err != nil {
		return err
	}
	if err := s.update(func(st *State) {
		st.Wanted, st.Pin, st.Containers.Stopped, s.isDown = Up, nil, nil, false
	}); err != nil {
		return err
	}
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
	switched, outcome, err := s.attempt(ctx, commit, o)
	if err == nil && !switched {
		err = s.startMissing(ctx, out)
	} else if err == nil {
		say(out, "deployed %s", commit.Short())
	}
	s.ended(outcome, err)
	return err
}

// upSome starts some compose services of what is deployed, with what they need.
func (s *Service) upSome(ctx context.Context, args target.Args, out compose.Output) error {
	if args.Has("--build") || args.Has("--pull") {
		return target.Usagef("up with names of services starts them as they are deployed, and takes --force-recreate only; up alone builds and pulls")
	}
	state := s.snapshot()
	if state.Deployed == nil || state.Switching != nil {
		return ErrNothingDeployed
	}
	model, err := s.loadDeployed()
	if err != nil {
		return err
	}
	if err := known(model, args.Services); err != nil {
		return err
	}
	needed := slices.Concat(args.Services, model.Needs(args.Services))
	if err := s.update(func(st *State) {
		stopped := st.Containers.Stopped
		if st.Wanted == Down {
			stopped = model.Services() // nobody has asked for the others
		}
		for _, name := range needed {
			stopped = remove(stopped, name)
		}
		st.Wanted, st.Containers.Stopped, s.isDown = Up, stopped, false
	}); err != nil {
		return err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	s.setActivity("up")
	err = s.startSome(ctx, model, args, out)
	s.idle()
	return err
}

// known returns an error if one of these is no compose service of the model.
func known(model *compose.Model, services []string) error {
	for _, name := range services {
		if slices.Contains(model.Services(), name) {
			continue
		}
		hint := ""
		if word, near := nearest.Word(name, model.Services()); near {
			hint = " (did you mean " + word + "?)"
		}
		return target.Usagef("no such service: %s%s; %s", name, hint, thereAre(model.Services()))
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

// Down takes the service down and keeps it down. It is a change.
func (s *Service) Down(ctx context.Context, args target.Args, out compose.Output) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.update(func(st *State) { st.Wanted, st.Containers.Stopped, s.isDown = Down, nil, false }); err != nil {
		return err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	s.setActivity("down")
	err := s.takeDown(ctx, out, args.Words()...)
	s.ended(TakenDown, err)
	return err
}

func (s *Service) takeDown(ctx context.Context, out compose.Output, flags ...string) error {
	if err := s.onDeployed(ctx, out, append([]string{"down", "--remove-orphans"}, flags...)...); err != nil {
		return &stepError{"take down", s.cfg.Name, err}
	}
	s.isDown = true
	return s.update(func(st *State) {
		st.Containers = Containers{}
		if st.Switching != nil {
			// Nothing runs now, and what was half done is not deployed.
			st.Switching, st.Deployed = nil, nil
		}
	})
}

// Stop stops containers, all or those of some compose services, until somebody
// starts them again. It is a change.
func (s *Service) Stop(ctx context.Context, args target.Args, out compose.Output) error {
	stopped := func(st *State, services []string) {
		for _, name := range services {
			st.Containers.Stopped = add(st.Containers.Stopped, name)
			st.Containers.Running = remove(st.Containers.Running, name)
		}
	}
	return s.onServices(ctx, "stop", args, out, stopped, func(ctx context.Context, _ *compose.Model) error {
		return s.onDeployed(ctx, out, append([]string{"stop"}, args.Words()...)...)
	})
}

// Start starts what is stopped, all or some compose services. A job that is done
// is not run again, unless it is named. It is a change.
func (s *Service) Start(ctx context.Context, args target.Args, out compose.Output) error {
	return s.onServices(ctx, "start", args, out, started, func(ctx context.Context, model *compose.Model) error {
		if len(args.Services) == 0 {
			return s.startMissing(ctx, out)
		}
		return s.startSome(ctx, model, args, out)
	})
}

// Restart stops and starts containers, all or those of some compose services. It
// is a change.
func (s *Service) Restart(ctx context.Context, args target.Args, out compose.Output) error {
	return s.onServices(ctx, "restart", args, out, started, func(ctx context.Context, model *compose.Model) error {
		if err := s.mayRestart(ctx, model, args.Services); err != nil {
			return err
		}
		return s.onDeployed(ctx, out, append([]string{"restart"}, args.Words()...)...)
	})
}

func started(st *State, services []string) {
	for _, name := range services {
		st.Containers.Stopped = remove(st.Containers.Stopped, name)
	}
}

// onServices does something to some or all compose services of what is deployed.
// What is to be remembered of it is so before it begins.
func (s *Service) onServices(ctx context.Context, activity string, args target.Args, out compose.Output,
	remember func(*State, []string), do func(context.Context, *compose.Model) error) error {
	if err := s.usable(); err != nil {
		return err
	}
	state := s.snapshot()
	if state.Deployed == nil || state.Switching != nil {
		return ErrNothingDeployed
	}
	if state.Wanted == Down {
		return ErrIsDown
	}
	model, err := s.loadDeployed()
	if err != nil {
		return err
	}
	services := args.Services
	if err := known(model, services); err != nil {
		return err
	}
	if len(services) == 0 {
		services = model.Services()
	}
	if err := s.update(func(st *State) { remember(st, services) }); err != nil {
		return err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	s.setActivity(activity)
	if err = do(ctx, model); err == nil {
		err = s.look(ctx, false)
	}
	s.idle()
	return err
}

// Pull fetches the branch, checks its head and pulls the images. What runs
// stays. Build and Up act on that commit from then on, for a while. It is a
// change.
func (s *Service) Pull(ctx context.Context, by string, args target.Args, out compose.Output) error {
	if err := s.usable(); err != nil {
		return err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	err := s.pullHead(ctx, by, args, out)
	s.idle()
	return err
}

func (s *Service) pullHead(ctx context.Context, by string, args target.Args, out compose.Output) error {
	head, err := s.fetch(ctx)
	if err != nil {
		return err
	}
	c, err := s.propose(ctx, head, s.newRecord(head, "pull by "+by))
	if err != nil {
		return err
	}
	say(out, "fetched %s", head.Short())
	before, err := s.engine.ImageIDs(ctx, c.images)
	if err != nil {
		return err
	}
	if err := s.pull(ctx, c, out, args.Words()...); err != nil {
		return err
	}
	if err := s.came(ctx, c, before); err != nil {
		return err
	}
	// First the objects, then the promise.
	if err := s.keep(head); err != nil {
		return err
	}
	until := time.Now().Add(pinTime)
	if err := s.update(func(st *State) { st.Pin = &Pin{Commit: head, By: by, Until: until} }); err != nil {
		return err
	}
	say(out, "build and up act on %s until %s", head.Short(), until.UTC().Format("15:04 UTC"))
	return nil
}

// came remembers the images that were not here before.
func (s *Service) came(ctx context.Context, c *candidate, before map[string]string) error {
	now, err := s.engine.ImageIDs(ctx, c.images)
	if err != nil {
		return err
	}
	return s.bring(c, before, now)
}

// Build builds the images of the fetched commit. What runs stays. It is a
// change.
func (s *Service) Build(ctx context.Context, args target.Args, out compose.Output) error {
	if err := s.usable(); err != nil {
		return err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	err := s.buildHead(ctx, args, out)
	s.idle()
	return err
}

func (s *Service) buildHead(ctx context.Context, args target.Args, out compose.Output) error {
	commit, err := s.fetched()
	if err != nil {
		return err
	}
	c, err := s.propose(ctx, commit, s.newRecord(commit, "build"))
	if err != nil {
		return err
	}
	before, err := s.engine.ImageIDs(ctx, c.images)
	if err != nil {
		return err
	}
	if err := s.build(ctx, c, out, args.Words()...); err != nil {
		return err
	}
	return s.came(ctx, c, before)
}
