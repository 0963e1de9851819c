package deploy

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

const (
	// steady is how long a container must have run since it was last started.
	steady = 3 * time.Second
	// gateLook is the time between two inspections of the containers.
	gateLook = 200 * time.Millisecond
	// lastLines is how many lines of a failing container's output are kept.
	lastLines = 15
)

// unhealthyError is the error of a deploy that did not become healthy.
type unhealthyError struct {
	commit  string // short
	problem string
	last    []string // the last output of the failing container
	err     error    // compose's, if that is where the problem showed
}

func (e *unhealthyError) Error() string {
	return e.commit + " did not become healthy: " + e.problem
}

func (e *unhealthyError) Details() []string { return e.last }
func (e *unhealthyError) Unwrap() error     { return e.err }

// gate is what a deploy has to pass.
type gate struct {
	name    string
	time    time.Duration // how long a deploy may take to become healthy
	engine  *compose.Engine
	store   *store
	board   *board
	starter *starter
	head    func() gitrepo.Hash // the fetched one, which moves during the gate
	follow  bool                // a newer commit is deployed by itself
	redact  func(string) string
	log     hclog.Logger
}

// pass starts the candidate and waits until all of its containers are as they should be:
// running and not restarted for a while, healthy where there is a health check, or exited
// with 0 where they are meant to end. Only that proves that a commit works. A commit is
// condemned only by what its own containers, or the engine about them, have shown; see
// isEvidence.
func (g *gate) pass(ctx context.Context, c *candidate, o order) error {
	boot, err := g.engine.Boot(ctx)
	if err != nil {
		return &stepError{"start", c.commit.Short(), err}
	}
	t := &trial{gate: g, c: c, out: o.out, overdue: errors.New("the gate is over"), boot: boot, begun: g.head(), services: g.notStopped(c)}
	told := &toldOnce{}
	gated, cancel, err := withGate(ctx, g.time, t.overdue, func() error {
		if c.made {
			return g.starter.make(ctx, told.first(o.out), c, t.services)
		}
		return g.starter.create(ctx, told.first(o.out), c, t.services)
	})
	defer cancel()
	if err == nil {
		// A worker that ends from here on leaves containers to be started, not to be replaced.
		err = g.store.update(func(st *State) {
			if st.Switching != nil {
				st.Switching.Made = boot
			}
		})
	}
	if err != nil {
		return t.makeFailed(ctx, err)
	}
	err = t.run(ctx, gated, told.second(o.out))
	if err == nil || ctx.Err() != nil || errors.Is(err, errRestarted) || g.engine.Away(ctx) != nil {
		return err
	}
	// Another try begins from the start: what was made may be why it failed.
	return errors.Join(err, g.store.update(func(st *State) {
		if st.Switching != nil {
			st.Switching.Made = ""
		}
	}))
}

// part is a part of a candidate that passes the gate by itself, before the rest.
type part struct {
	wanted map[string]int // containers by compose service
	only   string         // the ID of the one container that counts; empty: all of these compose services
	flags  []string       // of the compose that creates or, with only, starts them
}

// passPart creates and starts some compose services, or starts one container that is created already,
// and waits until that is as it should be.
func (g *gate) passPart(ctx context.Context, c *candidate, o order, services []string, p *part) error {
	boot, err := g.engine.Boot(ctx)
	if err != nil {
		return &stepError{"start", c.commit.Short(), err}
	}
	t := &trial{gate: g, c: c, out: o.out, overdue: errors.New("the gate is over"), boot: boot, begun: g.head(), services: services, part: p}
	told := &toldOnce{}
	gated, cancel, err := withGate(ctx, g.time, t.overdue, func() error {
		if p.only != "" {
			return nil
		}
		return g.starter.make(ctx, told.first(o.out), c, services, p.flags...)
	})
	defer cancel()
	if err != nil {
		return t.makeFailed(ctx, err)
	}
	return t.run(ctx, gated, told.second(o.out))
}

// only returns the ID of the one container that is on trial, if there is one, and what compose needs to
// start it alone.
func (t *trial) only() (id string, flags []string) {
	if t.part == nil || t.part.only == "" {
		return "", nil
	}
	return t.part.only, t.part.flags
}

// expected returns how many containers each compose service on trial should have.
func (t *trial) expected(c *candidate) map[string]int {
	if t.part == nil {
		return t.gate.expected(c)
	}
	return t.part.wanted
}

// containers returns those that are on trial.
func (t *trial) containers(ctx context.Context, c *candidate) ([]compose.Container, error) {
	all, err := t.gate.containers(ctx, c)
	if t.part == nil {
		return all, err
	}
	return slices.DeleteFunc(all, func(container compose.Container) bool {
		return t.part.wanted[container.Service] == 0 || t.part.only != "" && container.ID != t.part.only
	}), err
}

// withGate returns ctx with the deadline of the gate, which begins when the containers
// are created. How long the engine takes to create them, and to stop those that they
// replace, says nothing about the commit.
func withGate(ctx context.Context, gate time.Duration, overdue error, create func() error) (context.Context, context.CancelFunc, error) {
	if err := create(); err != nil {
		return ctx, func() {}, err
	}
	gated, cancel := context.WithTimeoutCause(ctx, gate, overdue)
	return gated, cancel, nil
}

// notStopped returns the compose services to start: all except those that somebody has
// stopped, and jobs that are done.
func (g *gate) notStopped(c *candidate) []string {
	leave := slices.Concat(g.store.snapshot().Containers.Stopped, c.done)
	services := slices.DeleteFunc(c.resolved.Services(), func(name string) bool { return slices.Contains(leave, name) })
	return some(services, c.resolved)
}

// expected returns how many containers each compose service should have, without those that
// are left alone.
func (g *gate) expected(c *candidate) map[string]int {
	wanted := c.resolved.Wanted()
	for _, name := range slices.Concat(g.store.snapshot().Containers.Stopped, c.done) {
		delete(wanted, name)
	}
	return wanted
}

// containers returns the containers that have to pass: not those that wait to be replaced or
// removed, and not those of compose services that are left alone.
func (g *gate) containers(ctx context.Context, c *candidate) ([]compose.Container, error) {
	all, err := g.engine.Containers(ctx, g.name)
	leave, others := slices.Concat(g.store.snapshot().Containers.Stopped, c.done), strays(c.resolved, all)
	return slices.DeleteFunc(all, func(container compose.Container) bool {
		stray := slices.ContainsFunc(others, func(other compose.Container) bool { return other.ID == container.ID })
		return stray || slices.Contains(c.retired, container.ID) || slices.Contains(leave, container.Service)
	}), err
}

func (g *gate) unhealthy(ctx context.Context, c *candidate, problem, id string, err error) error {
	e := &unhealthyError{commit: c.commit.Short(), problem: g.redact(problem), err: err}
	if id != "" {
		last, cannot := g.engine.LastLines(ctx, id, lastLines)
		if cannot != nil {
			g.log.Warn("cannot read a container's output", "container", id, "error", cannot)
		}
		for _, line := range last {
			e.last = append(e.last, g.redact(line))
		}
	}
	return verdict{e}
}
