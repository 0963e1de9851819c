package deploy

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/compose"
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
	redact  func(string) string
	log     hclog.Logger
}

// pass starts the candidate and waits until all of its containers are as they should be:
// running and not restarted for a while, healthy where there is a health check, or exited
// with 0 where they are meant to end. Only that proves that a commit works.
func (g *gate) pass(ctx context.Context, c *candidate, o order) error {
	overdue := errors.New("the gate is over")
	services, told := g.notStopped(c), &toldOnce{}
	gated, cancel, err := withGate(ctx, g.time, overdue, func() error {
		return g.starter.create(ctx, told.first(o.out), c, services)
	})
	defer cancel()
	if err == nil {
		err = g.starter.startCreated(gated, told.second(o.out), c, services)
	}
	if err != nil {
		return g.startFailed(ctx, gated, c, err, overdue)
	}
	g.board.enter(StepGate, c.commit)
	return g.healthy(gated, ctx, c, overdue)
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

// healthy inspects the containers until there is a verdict. gated ends with the gate, ctx
// with the whole deploy.
func (g *gate) healthy(gated, ctx context.Context, c *candidate, overdue error) error {
	look := time.NewTicker(gateLook)
	defer look.Stop()
	watch := newHealthWatch(g.expected(c))
	late := time.Time{} // when the gate was found to be over
	for {
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if gated.Err() != nil && late.IsZero() {
			if !errors.Is(context.Cause(gated), overdue) {
				return context.Cause(gated)
			}
			late = time.Now()
		}
		containers, err := g.containers(ctx, c)
		if err != nil {
			return &stepError{"watch", c.commit.Short(), err}
		}
		waiting, failed := watch.judge(containers, time.Now())
		switch {
		case failed != nil:
			return g.unhealthy(ctx, c, failed.Name+" "+failed.problem, failed.ID, nil)
		case len(waiting) == 0:
			return nil
		case late.IsZero():
		case time.Since(late) < steady && !slices.ContainsFunc(waiting, func(h health) bool { return !h.young }):
			// They only have not run for long enough yet.
		default:
			return g.stillWaiting(ctx, c, waiting)
		}
	}
}

// stillWaiting returns the error for a gate that ended while something was not as it should
// be.
func (g *gate) stillWaiting(ctx context.Context, c *candidate, waiting []health) error {
	var problems []string
	for _, w := range waiting {
		problems = append(problems, w.Name+" "+w.problem)
	}
	return g.unhealthy(ctx, c, fmt.Sprintf("after %s %s", g.time, strings.Join(problems, ", ")), waiting[0].ID, nil)
}

// surroundings matches what compose prints when the failure is not the commit's fault.
var surroundings = regexp.MustCompile(`(?i)port is already allocated|address already in use|declared as external, but could not be found|` +
	`network \S+ not found|no space left on device|disk quota exceeded|cannot connect to the docker daemon|is the docker daemon running|` +
	`connection refused|no such host|i/o timeout|tls handshake timeout|connection reset by peer|context deadline exceeded|toomanyrequests|` +
	`temporary failure in name resolution|network is unreachable|no route to host|bad gateway|service unavailable|pool overlaps|` +
	`no available network|all predefined address pools have been fully subnetted`)

// blameless reports whether compose failed for a reason that says nothing about the commit.
func blameless(err error) bool {
	var exit *compose.ExitError
	return !errors.As(err, &exit) || surroundings.MatchString(exit.Output)
}

// startFailed returns the error for a compose that could not start everything, or for an
// engine that could not be asked before the gate was over.
func (g *gate) startFailed(ctx, gated context.Context, c *candidate, err, overdue error) error {
	if errors.Is(err, overdue) || errors.Is(err, context.DeadlineExceeded) && gated.Err() != nil && errors.Is(context.Cause(gated), overdue) {
		return g.startOverdue(ctx, c)
	}
	if blameless(err) || g.engine.Away(ctx) != nil {
		return &stepError{"start", c.commit.Short(), err}
	}
	// The containers show which one failed, and its output shows why.
	problem, id := "", ""
	if containers, cannot := g.containers(ctx, c); cannot == nil {
		if _, failed := newHealthWatch(nil).judge(containers, time.Now()); failed != nil {
			problem, id = failed.Name+" "+failed.problem, failed.ID
		}
	}
	if problem == "" {
		problem = err.Error()
	}
	return g.unhealthy(ctx, c, problem, id, err)
}

// startOverdue returns the error for a compose that was still running when the gate was
// over. What runs may be what ran before, so this is not a success in any case.
func (g *gate) startOverdue(ctx context.Context, c *candidate) error {
	containers, err := g.containers(ctx, c)
	if err != nil {
		return &stepError{"watch", c.commit.Short(), err}
	}
	waiting, failed := newHealthWatch(g.expected(c)).judge(containers, time.Now())
	switch {
	case failed != nil:
		return g.unhealthy(ctx, c, failed.Name+" "+failed.problem, failed.ID, nil)
	case len(waiting) > 0:
		return g.stillWaiting(ctx, c, waiting)
	}
	return g.unhealthy(ctx, c, fmt.Sprintf("docker compose up did not end within %s", g.time), "", nil)
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

// health is the state of a container and what is wrong with it.
type health struct {
	compose.Container
	problem string
	young   bool // the only problem is that it has not run for long enough yet
}

// healthWatch remembers what was observed of containers while they become healthy.
type healthWatch struct {
	wanted map[string]int       // containers by compose service
	since  map[string]time.Time // when a container was first seen in its current run
}

func newHealthWatch(wanted map[string]int) *healthWatch {
	return &healthWatch{wanted: wanted, since: map[string]time.Time{}}
}

// judge returns what is not yet as it should be, and the first container that
// never will be.
func (w *healthWatch) judge(containers []compose.Container, now time.Time) (waiting []health, failed *health) {
	there := map[string]int{}
	for _, c := range containers {
		there[c.Service]++
		problem, hopeless := w.problem(c, now)
		if problem == "" {
			continue
		}
		if hopeless {
			return nil, &health{Container: c, problem: problem}
		}
		waiting = append(waiting, health{Container: c, problem: problem, young: problem == justStarted})
	}
	for service, n := range w.wanted {
		if there[service] < n {
			waiting = append(waiting, health{
				Container: compose.Container{Name: service, Service: service},
				problem:   fmt.Sprintf("has %d of %d containers", there[service], n),
			})
		}
	}
	slices.SortFunc(waiting, func(a, b health) int { return strings.Compare(a.Name, b.Name) })
	return waiting, nil
}

// problem returns what is wrong with a container, and whether waiting is hopeless.
func (w *healthWatch) problem(c compose.Container, now time.Time) (text string, hopeless bool) {
	switch c.State {
	case "running":
		return w.running(c, now)
	case "exited", "dead":
		switch {
		case c.Done():
			return "", false
		case c.Error != "":
			return "could not be started: " + c.Error, true
		case c.Returns(c.ExitCode):
			return fmt.Sprintf("exited with %d", c.ExitCode), false
		}
		return fmt.Sprintf("exited with %d", c.ExitCode), true
	case "restarting":
		return fmt.Sprintf("keeps restarting, the last time after it exited with %d", c.ExitCode), false
	case "created":
		if c.Error != "" {
			return "could not be started: " + c.Error, true
		}
		return "is not started", false
	}
	return "is " + c.State, false
}

const justStarted = "has only just started"

func (w *healthWatch) running(c compose.Container, now time.Time) (text string, hopeless bool) {
	run := c.ID + c.Started.String()
	if _, seen := w.since[run]; !seen {
		w.since[run] = now
	}
	switch {
	case c.Health == "unhealthy":
		text = "is unhealthy"
		if said := splitLines(strings.TrimSpace(c.Checked)); len(said) > 0 {
			text += ": " + said[len(said)-1]
		}
		return text, true
	case c.Health == "starting":
		return "is not healthy yet", false
	case now.Sub(w.since[run]) < steady && now.Sub(c.Started) < steady:
		if c.Restarts > 0 {
			return fmt.Sprintf("has restarted %d times", c.Restarts), false
		}
		return justStarted, false
	}
	return "", false
}
