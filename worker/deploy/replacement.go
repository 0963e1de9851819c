package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgo/internal/wait"
	"pgo/worker/compose"
)

const (
	// drainTime is how long requests that have begun may take before the container that answers them
	// is stopped. Then they have the container's grace period.
	drainTime = 10 * time.Second
	// drainLook is the time between two looks at a container's connections.
	drainLook = 200 * time.Millisecond
	// blindDrain is how long to wait where the connections cannot be seen.
	blindDrain = 3 * time.Second
)

// replacement is one compose service on its way.
type replacement struct {
	*ahead
	c       *candidate
	o       order
	service string
	hosts   []string
	ports   []int

	switched bool                // the proxies send requests to one container
	answers  compose.Container   // the one that answers while others start and end
	old      []compose.Container // those to be replaced
}

// replace starts new containers of a compose service, one at a time, and ends what they replace but
// for the last, which the switch in place removes. It reports whether there was anything to replace.
func (a *ahead) replace(ctx context.Context, c *candidate, o order, service string) (bool, error) {
	r := &replacement{ahead: a, c: c, o: o, service: service}
	r.hosts, r.ports = a.targets(c.resolved, service)
	runs, err := r.running(ctx)
	if err != nil || len(runs) == 0 || c.resolved.Replicas(service) == 0 {
		return false, err // nothing answers, so there is nothing to protect
	}
	a.board.enter(StepAhead, c.commit)
	return true, r.run(ctx, runs)
}

// run replaces those containers that run.
func (r *replacement) run(ctx context.Context, runs []compose.Container) error {
	if err := r.turn(ctx, runs[0]); err != nil {
		return err
	}
	for need := 1; need > 0; need-- {
		fresh, err := r.create(ctx)
		if err != nil {
			return r.failed(ctx, nil, r.gate.notMade(ctx, r.c, err))
		}
		if r.old == nil {
			r.old = slices.DeleteFunc(slices.Clone(runs), func(container compose.Container) bool {
				return !r.c.forced && container.Config == fresh.Config && container.Image == fresh.Image
			})
			need = r.c.resolved.Replicas(r.service) - (len(runs) - len(r.old))
			if len(r.old) == 0 || need <= 0 {
				return r.superfluous(ctx, runs, fresh)
			}
		}
		if err := r.prove(ctx, fresh); err != nil {
			return r.failed(ctx, fresh, err)
		}
		if need > 1 && len(r.old) > 1 {
			if err := r.endOne(ctx); err != nil {
				return err
			}
			continue
		}
		if need == 1 {
			if err := r.turn(ctx, *fresh); err != nil {
				return err
			}
		}
	}
	return r.drainOld(ctx)
}

// running returns the containers of the compose service that run and are known to work: those that are
// healthy first.
func (r *replacement) running(ctx context.Context) ([]compose.Container, error) {
	containers, err := r.engine.Containers(ctx, r.name)
	if err != nil {
		return nil, err
	}
	var serving []string
	if begun := r.store.snapshot().Switching; begun != nil {
		serving = begun.Serving
	}
	containers = slices.DeleteFunc(containers, func(container compose.Container) bool {
		return container.Service != r.service || container.State != "running" || !slices.Contains(serving, container.ID)
	})
	// The first answers meanwhile, and compose keeps those with the lowest numbers.
	sick := func(container compose.Container) int {
		if container.Health == "unhealthy" {
			return 1
		}
		return 0
	}
	slices.SortFunc(containers, func(x, y compose.Container) int {
		return cmp.Or(cmp.Compare(sick(x), sick(y)), cmp.Compare(x.Number, y.Number))
	})
	return containers, nil
}

// turn has the proxies send requests to a container.
func (r *replacement) turn(ctx context.Context, to compose.Container) error {
	r.board.enter(StepTurn, r.c.commit)
	why, err := r.requests.turn(ctx, r.hosts, to.ID)
	if err != nil {
		return err
	}
	if r.switched, r.answers = why == "", to; !r.switched {
		say(r.o.out, "requests for %s go to old and new containers for a while, as they cannot be switched: %s", r.service, brief(why))
	}
	return nil
}

// create creates one more container, which does not run yet.
func (r *replacement) create(ctx context.Context) (*compose.Container, error) {
	before, err := r.of(ctx)
	if err != nil {
		return nil, err
	}
	scale := fmt.Sprintf("%s=%d", r.service, len(before)+1)
	if err := r.starter.makeMore(ctx, r.o.out, r.c, r.service, "--no-start", "--no-recreate", "--scale", scale); err != nil {
		return nil, err
	}
	after, err := r.of(ctx)
	if err != nil {
		return nil, err
	}
	for _, container := range after {
		if !slices.ContainsFunc(before, func(b compose.Container) bool { return b.ID == container.ID }) {
			return &container, nil
		}
	}
	return nil, &stepError{"start", r.c.commit.Short(), fmt.Errorf("docker compose made no other container of %s", r.service)}
}

// of returns the containers of the compose service.
func (r *replacement) of(ctx context.Context) ([]compose.Container, error) {
	containers, err := r.engine.Containers(ctx, r.name)
	return slices.DeleteFunc(containers, func(container compose.Container) bool { return container.Service != r.service }), err
}

// prove starts the new container, and waits until it works.
func (r *replacement) prove(ctx context.Context, fresh *compose.Container) error {
	there, err := r.of(ctx)
	if err != nil {
		return err
	}
	say(r.o.out, "starting %s next to what it replaces", fresh.Name)
	part := &part{
		wanted: map[string]int{r.service: 1}, only: fresh.ID,
		flags: []string{"--scale", fmt.Sprintf("%s=%d", r.service, len(there))},
	}
	if err := r.gate.passPart(ctx, r.c, r.o, []string{r.service}, part); err != nil {
		return err
	}
	return r.note(func(begun *Switching) { begun.Serving = append(slices.Clone(begun.Serving), fresh.ID) })
}

// superfluous removes a container that turned out not to be needed: what runs is as it should be, or
// an earlier worker has started enough of it. What is left over ends without a request.
func (r *replacement) superfluous(ctx context.Context, runs []compose.Container, fresh *compose.Container) error {
	if err := r.engine.Unmake(ctx, []string{fresh.ID}, nil, nil); err != nil {
		return err
	}
	same := slices.DeleteFunc(slices.Clone(runs), func(container compose.Container) bool {
		return slices.ContainsFunc(r.old, func(old compose.Container) bool { return old.ID == container.ID })
	})
	excess := same[min(r.c.resolved.Replicas(r.service), len(same)):]
	if r.old = append(r.old, excess...); len(r.old) == 0 {
		return nil
	}
	if err := r.turn(ctx, same[0]); err != nil {
		return err
	}
	return r.drainOld(ctx)
}

// endOne ends one of the containers that are replaced, but not the one that answers.
func (r *replacement) endOne(ctx context.Context) error {
	i := slices.IndexFunc(r.old, func(container compose.Container) bool { return container.ID != r.answers.ID })
	if err := r.drain(ctx, r.old[i]); err != nil {
		return err
	}
	r.c.ended = true
	if err := r.engine.End(ctx, r.old[i].ID); err != nil {
		return err
	}
	r.old = slices.Delete(r.old, i, i+1)
	return nil
}

// drainOld waits until those that are left to be replaced have answered.
func (r *replacement) drainOld(ctx context.Context) error {
	for _, container := range r.old {
		if err := r.drain(ctx, container); err != nil {
			return err
		}
		if !r.c.forced {
			continue // the switch in place ends it
		}
		r.c.ended = true
		if err := r.engine.End(ctx, container.ID); err != nil { // compose would keep it, and end the new one
			return err
		}
	}
	return nil
}

// drain waits until a container that gets no more requests has answered those that it has.
func (r *replacement) drain(ctx context.Context, container compose.Container) error {
	if !r.switched {
		return nil
	}
	r.board.enter(StepDrain, r.c.commit)
	end := time.Now().Add(drainTime)
	for {
		// Not at once: the proxy may be about to connect to it.
		if err := wait.For(ctx, drainLook); err != nil {
			return err
		}
		n, err := compose.Connections(ctx, r.engine, container.ID, r.ports)
		switch {
		case err != nil:
			r.log.Debug("cannot see the connections of a container", "container", container.Name, "error", err)
			return wait.For(ctx, blindDrain)
		case n == 0:
			return nil
		case time.Now().After(end):
			say(r.o.out, "%s still has %d connections: they end with its stop_grace_period", container.Name, n)
			return nil
		}
	}
}

// failed removes a container that does not work. While everything that it was to help to replace is
// there, nothing has happened to the service.
func (r *replacement) failed(ctx context.Context, fresh *compose.Container, err error) error {
	if ctx.Err() != nil || errors.Is(err, errRestarted) {
		return err // it is found later
	}
	if fresh != nil {
		if cannot := r.engine.End(ctx, fresh.ID); cannot != nil {
			err = errors.Join(err, cannot)
		}
	}
	if r.c.ended || len(r.c.replaced) > 0 {
		return err
	}
	return &notReplacedError{err}
}
