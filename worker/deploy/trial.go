package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgo/internal/printable"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

const (
	// tellEach is the least time between two lines that say what the gate waits for.
	tellEach = 5 * time.Second
	// maxBroughtBack is how often the gate brings containers back that somebody takes away.
	maxBroughtBack = 5
	// unready is how long a container that keeps exiting is given where something else runs and
	// may not be ready yet: a database without a health check, say, whether or not the container
	// says that it depends on it.
	unready = time.Minute
)

// trial is one pass of a candidate through the gate.
type trial struct {
	*gate
	c        *candidate
	out      compose.Output
	services []string     // those to start; nil: all
	part     *part        // what of the candidate is on trial; nil: all
	overdue  error        // the cause of the gate's end
	boot     string       // the engine's, when the trial began
	begun    gitrepo.Hash // the branch's head then

	watch   *healthWatch
	told    time.Time // when it was last said what the gate waits for
	calm    time.Time // since when everything else is well; zero: it is not
	brought int       // how often containers were brought back
	partly  bool      // compose has not started all, since somebody took something away
}

// run starts what is created, and inspects the containers until there is a verdict. gated
// ends with the gate, ctx with the whole deploy.
func (t *trial) run(ctx, gated context.Context, out compose.Output) error {
	starting, stop := context.WithCancel(gated)
	defer stop()
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		only, flags := t.only()
		started <- t.starter.startOnly(starting, out, t.c, t.services, only, flags...)
	}()
	// The starter says what it does to the board; from then on it is the trial.
	t.watch, t.told = newHealthWatch(t.expected(t.c)), time.Now()
	look := time.NewTicker(gateLook)
	defer look.Stop()
	up, late := false, time.Time{} // whether compose has ended, and when the gate was found to be over
	defer func() {
		if !up { // there is a verdict already, and compose must not go on
			stop()
			<-ended
		}
	}()
	for {
		select {
		case err := <-started:
			up = true
			if t.partly = err != nil; t.partly && !t.tookAway(ctx) {
				return t.startFailed(ctx, gated, err)
			}
			t.board.enter(StepGate, t.c.commit)
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if gated.Err() != nil && late.IsZero() {
			if !errors.Is(context.Cause(gated), t.overdue) {
				return context.Cause(gated)
			}
			if !up { // compose has been asked to end
				<-ended
				up = true
				return t.startOverdue(ctx)
			}
			late = time.Now()
		}
		containers, err := t.containers(ctx, t.c)
		if err != nil {
			return &stepError{"watch", t.c.commit.Short(), err}
		}
		waiting, failed := t.watch.judge(containers, time.Now())
		if failed == nil {
			failed = t.hopeless(containers, waiting)
		} else if !up {
			continue // it may be what ran before and is about to be replaced; compose ends by itself
		}
		if up {
			if service := t.taken(ctx, waiting, failed); service != "" {
				if err := t.bringBack(ctx, service, containers); err != nil {
					return err
				}
				continue
			}
		}
		switch {
		case failed != nil:
			return t.failed(ctx, failed)
		case !up:
			t.tell(gated, waiting)
		case len(waiting) == 0:
			return nil
		case late.IsZero():
			if newer := t.head(); newer != t.begun && newer != t.c.commit && isFailing(waiting) && t.follows() {
				return &supersededError{t.c.commit.Short(), newer.Short(), t.text(waiting)}
			}
			t.tell(gated, waiting)
		case time.Since(late) < steady && !slices.ContainsFunc(waiting, func(h health) bool { return !h.young }):
			// They only have not run for long enough yet.
		default:
			return t.stillWaiting(ctx, containers, waiting)
		}
	}
}

// follows reports whether a newer commit would be deployed by itself.
func (t *trial) follows() bool {
	state := t.store.snapshot()
	return t.follow && t.c.back == 0 && state.Frozen == nil && state.pinned(time.Now()) == nil
}

// supersededError ends the gate of a commit that is failing when there is a newer one.
type supersededError struct{ commit, newer, problem string }

func (e *supersededError) Error() string {
	return fmt.Sprintf("%s was failing when %s came, which is deployed instead: %s", e.commit, e.newer, e.problem)
}

// isFailing reports whether something has gone wrong already, and does not just take time.
func isFailing(waiting []health) bool {
	return slices.ContainsFunc(waiting, func(h health) bool {
		return h.Restarts > 0 || h.State == "restarting" || h.State == "exited" || h.Health == "starting" && h.Failed > 0
	})
}

// taken returns a compose service of which somebody has removed or stopped a container, or "".
// Compose has made all of them, so one that is missing was removed.
func (t *trial) taken(ctx context.Context, waiting []health, failed *health) string {
	if failed != nil {
		waiting = []health{*failed}
	}
	for _, h := range waiting {
		if h.ID == "" || h.State == "exited" && t.wasKilled(ctx, h.Container) {
			return h.Service
		}
	}
	return ""
}

// wasKilled reports whether somebody has stopped a container: its end says nothing about the
// commit.
func (t *trial) wasKilled(ctx context.Context, c compose.Container) bool {
	killed, err := t.engine.WasKilled(ctx, c)
	if err != nil {
		t.log.Warn("cannot find out who ended a container", "container", c.Name, "error", err)
	}
	return killed
}

// tookAway reports whether somebody has removed or stopped one of the containers while
// compose started them.
func (t *trial) tookAway(ctx context.Context) bool {
	containers, err := t.containers(ctx, t.c)
	if err != nil {
		return false
	}
	waiting, failed := newHealthWatch(t.expected(t.c)).judge(containers, time.Now())
	return t.taken(ctx, waiting, failed) != ""
}

// bringBack brings back the containers of a compose service that somebody removed or stopped,
// and starts what compose could not start because of that.
func (t *trial) bringBack(ctx context.Context, service string, containers []compose.Container) error {
	if t.part != nil && t.part.only != "" {
		return &stepError{"start", t.c.commit.Short(), fmt.Errorf("somebody removed or stopped the new container of %s", service)}
	}
	if t.brought++; t.brought > maxBroughtBack {
		return &stepError{"start", t.c.commit.Short(), fmt.Errorf("somebody removes or stops the containers of %s again and again", service)}
	}
	say(t.out, "bringing back %s, which somebody removed or stopped", service)
	services := []string{service}
	if t.partly {
		services = slices.DeleteFunc(unfinished(t.c.resolved, containers), func(name string) bool { return t.expected(t.c)[name] == 0 })
		t.partly = false
	}
	err := t.starter.make(ctx, t.out, t.c, services, "--no-start", "--no-recreate")
	if err == nil {
		err = t.starter.startCreated(ctx, t.out, t.c, services)
	}
	if err != nil {
		return t.startFailed(ctx, ctx, err)
	}
	t.board.enter(StepGate, t.c.commit)
	return nil
}

// hopeless returns a container that exits again and again in the same way, while nothing
// that it depends on is still starting.
func (t *trial) hopeless(containers []compose.Container, waiting []health) *health {
	looping := slices.IndexFunc(waiting, func(h health) bool { return h.looping })
	if looping < 0 || slices.ContainsFunc(waiting, func(h health) bool { return !h.looping }) {
		t.calm = time.Time{}
		return nil
	}
	if t.calm.IsZero() {
		t.calm = time.Now()
	}
	if !t.alone(waiting[looping].Service, containers) && time.Since(t.calm) < unready {
		return nil
	}
	failed := waiting[looping]
	failed.problem = fmt.Sprintf("has exited again and again, %d times so far, each time with %d", failed.Restarts+1, t.watch.exits[failed.ID].code)
	return &failed
}

// alone reports whether a compose service is known not to wait for anything else: there is
// nothing else, or all that it depends on is healthy or has done its work.
func (t *trial) alone(service string, containers []compose.Container) bool {
	if len(t.c.resolved.Services()) == 1 {
		return true
	}
	needs := t.c.resolved.Needs([]string{service})
	return len(needs) > 0 && !slices.ContainsFunc(containers, func(c compose.Container) bool {
		return slices.Contains(needs, c.Service) && c.Health != "healthy" && !c.Done()
	})
}

// tell says what the gate waits for: now and then in the output, and in the status.
func (t *trial) tell(gated context.Context, waiting []health) {
	if time.Since(t.told) < max(tellEach, t.time/20) || len(waiting) == 0 {
		return
	}
	t.told = time.Now()
	left := ""
	if end, ok := gated.Deadline(); ok {
		left = fmt.Sprintf("; %s left", max(time.Until(end), 0).Round(time.Second))
	}
	text := printable.Line(t.text(waiting))
	say(t.out, "waiting: %s%s", text, left)
	t.board.setActivity(string(StepGate) + " " + t.c.commit.Short() + ": " + text + left)
}

// text names what is not as it should be, briefly.
func (t *trial) text(waiting []health) string {
	const most = 3
	var all []string
	for i, h := range waiting {
		if i == most {
			all = append(all, fmt.Sprintf("and %d more", len(waiting)-most))
			break
		}
		all = append(all, printable.Cut(h.Name+" "+h.problem, maxReason))
	}
	return t.redact(strings.Join(all, ", "))
}

// stillWaiting returns the error for a gate that ended while something was not as it should
// be. What only waits for another one is not at fault, and what never ran is not evidence.
func (t *trial) stillWaiting(ctx context.Context, containers []compose.Container, waiting []health) error {
	if t.restarted(ctx) {
		return t.engineRestarted()
	}
	waiting = blockers(t.c.resolved, containers, waiting)
	problem := fmt.Sprintf("after %s %s", t.time, t.text(waiting))
	for _, h := range waiting {
		if h.ran() {
			return t.unhealthy(ctx, t.c, problem, h.ID, nil)
		}
	}
	return &stepError{"start", t.c.commit.Short(), errors.New(problem)}
}

// blockers replaces containers that are not started, because they wait for others, by these:
// a job that does not end, or whatever else is not as it should be.
func blockers(model *compose.Model, containers []compose.Container, waiting []health) []health {
	isHeld := func(h health) bool { return h.State == "created" }
	var all []health
	for _, h := range waiting {
		if !isHeld(h) {
			all = append(all, h)
			continue
		}
		for _, job := range compose.JobsBefore(model, h.Service) {
			for _, c := range containers {
				if c.Service == job && c.State == "running" {
					all = append(all, health{Container: c, problem: "has not ended, and " + h.Name + " waits for that"})
				}
			}
		}
	}
	if len(all) == 0 {
		return waiting
	}
	return all
}

// startFailed returns the error for a compose that could not create or start everything.
func (t *trial) startFailed(ctx, gated context.Context, err error) error {
	if errors.Is(err, t.overdue) || errors.Is(err, context.DeadlineExceeded) && gated.Err() != nil && errors.Is(context.Cause(gated), t.overdue) {
		return t.startOverdue(ctx)
	}
	if broken := t.brokenOff(ctx, err); broken != nil {
		return broken
	}
	if !errors.As(err, new(*compose.ExitError)) {
		return &stepError{"start", t.c.commit.Short(), err}
	}
	// The containers show which one failed, and its output shows why.
	if containers, cannot := t.containers(ctx, t.c); cannot == nil {
		if _, failed := newHealthWatch(nil).judge(containers, time.Now()); failed != nil && failed.isEvidence() && (failed.State != "exited" || !t.wasKilled(ctx, failed.Container)) {
			return t.unhealthy(ctx, t.c, failed.Name+" "+failed.problem, failed.ID, err)
		}
		// In a loop, it may have been started again since compose looked.
		name, problem := compose.FailedDependency(err)
		for _, c := range containers {
			if c.Name == name && (health{Container: c}).ran() && (c.State != "exited" || !t.wasKilled(ctx, c)) {
				return t.unhealthy(ctx, t.c, name+" "+problem, c.ID, err)
			}
		}
	}
	if compose.Refused(err) {
		return t.unhealthy(ctx, t.c, err.Error(), "", err)
	}
	return &stepError{"start", t.c.commit.Short(), err}
}

// makeFailed returns the error for containers that could not be created. What there is may be
// of an earlier deploy, and says nothing about this one.
func (t *trial) makeFailed(ctx context.Context, err error) error {
	if broken := t.brokenOff(ctx, err); broken != nil {
		return broken
	}
	return t.notMade(ctx, t.c, err)
}

// notMade returns the error for containers that compose could not create: a verdict if the engine
// says that they cannot be as the compose file has them.
func (g *gate) notMade(ctx context.Context, c *candidate, err error) error {
	if compose.Refused(err) {
		return g.unhealthy(ctx, c, err.Error(), "", err)
	}
	return &stepError{"start", c.commit.Short(), err}
}

// brokenOff returns the error for what failed while the engine was away, or because it was
// restarted; nil: neither.
func (t *trial) brokenOff(ctx context.Context, err error) error {
	switch {
	case isVerdict(err):
		return nil
	case t.engine.Away(ctx) != nil:
		return &stepError{"start", t.c.commit.Short(), err}
	case t.restarted(ctx):
		return &stepError{"start", t.c.commit.Short(), fmt.Errorf("%w: %w", errRestarted, err)}
	}
	return nil
}

// failed returns the error for a container that will never be as it should be.
func (t *trial) failed(ctx context.Context, failed *health) error {
	switch {
	case t.restarted(ctx):
		return t.engineRestarted()
	case !failed.isEvidence():
		return &stepError{"start", t.c.commit.Short(), errors.New(t.redact(failed.Name + " " + failed.problem))}
	}
	return t.unhealthy(ctx, t.c, failed.Name+" "+failed.problem, failed.ID, nil)
}

// restarted reports whether the engine, or the host, has started anew since the trial
// began: what ended with it says nothing about the commit.
func (t *trial) restarted(ctx context.Context) bool { return isRestarted(ctx, t.engine, t.boot) }

func isRestarted(ctx context.Context, engine *compose.Engine, since string) bool {
	boot, err := engine.Boot(ctx)
	return err != nil || boot != since
}

// errRestarted means that the engine started anew during a switch, or during its gate. What was
// made is started again, not replaced.
var errRestarted = errors.New("the Docker engine was restarted meanwhile")

func (t *trial) engineRestarted() error {
	return &stepError{"watch", t.c.commit.Short(), errRestarted}
}

// startOverdue returns the error for a compose that was still running when the gate was
// over. What runs may be what ran before, so this is not a success in any case.
func (t *trial) startOverdue(ctx context.Context) error {
	containers, err := t.containers(ctx, t.c)
	if err != nil {
		return &stepError{"watch", t.c.commit.Short(), err}
	}
	waiting, failed := newHealthWatch(t.expected(t.c)).judge(containers, time.Now())
	switch {
	case failed != nil:
		return t.failed(ctx, failed)
	case len(waiting) > 0:
		return t.stillWaiting(ctx, containers, waiting)
	}
	return &stepError{"start", t.c.commit.Short(), fmt.Errorf("the containers were not all started within %s", t.time)}
}
