package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/procfs"

	"pgo/internal/printable"
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

// ahead starts the new containers of what is behind a proxy before those end that they replace. What
// it cannot start first, and everything that it leaves, is replaced in place afterwards: that is also
// how an interrupted deploy gets rid of what is too much.
type ahead struct {
	name     string
	enabled  bool
	isProxy  bool
	routes   []Route
	engine   *compose.Engine
	store    *store
	board    *board
	files    *workspace
	starter  *starter
	gate     *gate
	requests *requests
	log      hclog.Logger

	onThisHost func() bool // the engine is on it
}

// availableMemory returns how much memory the host could give to programs, in bytes; 0: nobody knows.
func availableMemory() uint64 {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return 0
	}
	info, err := proc.Meminfo()
	if err != nil || info.MemAvailableBytes == nil {
		return 0
	}
	return *info.MemAvailableBytes
}

// chosen returns the compose services of the candidate that differ from what runs and start first,
// each after those that it depends on.
func (a *ahead) chosen(c *candidate) []string {
	if c.anew {
		return nil
	}
	var services []string
	for _, way := range c.record.Ways {
		if way.StartFirst && slices.Contains(c.differing, way.Service) {
			services = append(services, way.Service)
		}
	}
	return compose.InOrder(c.resolved, services)
}

// atMost returns how many containers of the candidate may start first.
func (a *ahead) atMost(c *candidate) (n int) {
	for _, way := range c.record.Ways {
		if way.StartFirst {
			n += min(c.resolved.Replicas(way.Service), mostAhead)
		}
	}
	return min(n, mostAhead)
}

// mostAhead is for how many of them a deploy is given time.
const mostAhead = 50

// plan finds out which compose services differ from what runs, before the switch forgets that.
func (a *ahead) plan(ctx context.Context, c *candidate) error {
	c.differing = nil
	if !a.enabled {
		return nil
	}
	if err := a.foretell(ctx, c); err != nil {
		return err
	}
	containers, err := a.engine.Containers(ctx, a.name)
	if err != nil {
		return err
	}
	state := a.store.snapshot()
	deployed, unknown := a.files.loadDeployed()
	for _, service := range c.resolved.Services() {
		if unknown != nil || c.forced || a.differs(c, state, deployed, containers, service) {
			c.differing = append(c.differing, service)
		}
	}
	return nil
}

// differs reports whether a compose service may have to be replaced.
func (a *ahead) differs(c *candidate, state State, deployed *compose.Model, containers []compose.Container, service string) bool {
	if begun := state.Switching; begun != nil {
		// It is not known what runs, unless what is to run again was never touched.
		was, known := begun.Was[service]
		untouched, others := 0, false
		for _, container := range containers {
			switch {
			case container.Service != service || !slices.Contains(begun.Serving, container.ID):
			case known && container.Config == was.Config && container.Image == was.Image:
				untouched++
			default:
				others = true // it may be the one that answers
			}
		}
		return c.back == 0 || state.Deployed == nil || state.Deployed.Number != c.back || others || untouched < c.resolved.Replicas(service)
	}
	return !state.Deployed.good() || !compose.SameService(deployed, c.resolved, service) ||
		state.Deployed.Images[service] != c.record.Images[service] ||
		a.files.inputs(deployed, service, state.Deployed) != a.files.inputs(c.resolved, service, c.record) ||
		slices.Contains(astray(deployed, containers, state), service)
}

// begin notes in a switch what runs as it begins, or what an earlier one has noted that did not end.
func (a *ahead) begin(ctx context.Context, s *Switching) error {
	state := a.store.snapshot()
	if !a.enabled {
		return nil
	}
	if before := state.Switching; before != nil && before.Serving != nil {
		s.inherit(before)
		return nil
	}
	containers, err := a.engine.Containers(ctx, a.name)
	if err != nil {
		return err
	}
	s.Was, s.Serving = state.Made, []string{}
	for _, container := range containers {
		s.Serving = append(s.Serving, container.ID)
	}
	return nil
}

// inherit takes over what an earlier switch has noted that did not end.
func (s *Switching) inherit(before *Switching) {
	s.Was, s.Serving = before.Was, before.Serving
	if before.Commit == s.Commit && before.Back == s.Back {
		s.Jobs = before.Jobs
	}
}

// pass starts the candidate, what starts first before the rest, and waits until all of it is as it
// should be. Then the names of the compose services lead to it and to nothing else.
func (a *ahead) pass(ctx context.Context, c *candidate, o order) error {
	if !c.made && !c.anew {
		err := a.run(ctx, c, o)
		if err != nil && (c.back == 0 || !isVerdict(err)) {
			return err
		}
		if err != nil { // there is nothing better, so all of it runs again, and the gate judges that
			say(o.out, "not all of it can be started first: %s", printable.Line(err.Error()))
		}
	}
	return a.gate.pass(ctx, c, o)
}

// run starts what it can of the candidate next to what runs, and has the proxies send requests there.
// Everything else is left as it is.
func (a *ahead) run(ctx context.Context, c *candidate, o order) error {
	if !a.enabled {
		return nil
	}
	if err := a.discardUnproven(ctx, c); err != nil {
		return err
	}
	first := a.chosen(c)
	var replaced []string
	for _, service := range first {
		if slices.Contains(a.store.snapshot().Containers.Stopped, service) {
			continue
		}
		if err := a.replaceNeeds(ctx, c, o, service, first); err != nil {
			return err
		}
		runs, err := a.replace(ctx, c, o, service)
		if err != nil {
			return err
		}
		if runs {
			replaced = append(replaced, service)
		}
	}
	done := slices.Concat(replaced, c.done, c.replaced, a.store.snapshot().Containers.Stopped)
	rest := slices.DeleteFunc(c.resolved.Services(), func(name string) bool { return slices.Contains(done, name) })
	if c.forced && len(rest) > 0 {
		return a.starter.make(ctx, o.out, c, rest, "--no-start", "--force-recreate")
	}
	return nil
}

// discardUnproven removes what an earlier worker has started, or was about to, and has not seen to
// work, as long as there is something that does.
func (a *ahead) discardUnproven(ctx context.Context, c *candidate) error {
	known := a.store.snapshot().Switching
	if known == nil || known.Serving == nil {
		return nil
	}
	containers, err := a.engine.Containers(ctx, a.name)
	if err != nil {
		return err
	}
	for _, way := range c.record.Ways {
		of := func(container compose.Container) bool { return way.StartFirst && container.Service == way.Service }
		works := func(container compose.Container) bool { return slices.Contains(known.Serving, container.ID) }
		if !slices.ContainsFunc(containers, func(container compose.Container) bool { return of(container) && works(container) }) {
			continue
		}
		for _, container := range containers {
			if of(container) && !works(container) {
				a.log.Info("removing a container that an earlier deploy has started and not seen to work", "container", container.Name)
				if err := a.engine.End(ctx, container.ID); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// replaceNeeds replaces in place what a compose service depends on and cannot start first, and runs
// its jobs.
func (a *ahead) replaceNeeds(ctx context.Context, c *candidate, o order, service string, first []string) error {
	needs := c.resolved.Needs([]string{service})
	for _, name := range compose.InOrder(c.resolved, needs) {
		done := slices.Contains(c.done, name) || slices.Contains(c.replaced, name) || slices.Contains(first, name)
		if done || !slices.Contains(c.differing, name) || slices.Contains(a.store.snapshot().Containers.Stopped, name) {
			continue
		}
		say(o.out, "%s depends on %s, which is replaced in place before", service, name)
		flags := []string{"--no-start"}
		if c.forced {
			flags = append(flags, "--force-recreate")
		}
		part := &part{wanted: map[string]int{name: c.resolved.Replicas(name)}, flags: flags}
		if err := a.gate.passPart(ctx, c, o, []string{name}, part); err != nil {
			return err
		}
		c.replaced = append(c.replaced, name)
		containers, err := a.engine.Containers(ctx, a.name)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(containers, func(container compose.Container) bool { return container.Service == name && container.Done() }) {
			c.done = add(c.done, name) // it is not run again with the rest, nor after a crash
			if err := a.note(func(begun *Switching) {
				jobs := map[string]string{name: c.record.Images[name]}
				maps.Copy(jobs, begun.Jobs)
				begun.Jobs = jobs
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// note changes what is known about the present switch.
func (a *ahead) note(change func(*Switching)) error {
	return a.store.update(func(st *State) {
		if st.Switching != nil {
			begun := *st.Switching
			change(&begun)
			st.Switching = &begun
		}
	})
}

// jobsDone adds the jobs that an earlier worker has run for the same switch.
func (a *ahead) jobsDone(c *candidate, begun *Switching) {
	if begun == nil || begun.Commit != c.commit || begun.Back != c.back {
		return
	}
	for name, image := range begun.Jobs {
		if image == c.record.Images[name] {
			c.done = add(c.done, name)
		}
	}
}

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
