package deploy

import (
	"context"
	"maps"
	"slices"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/procfs"

	"pgo/internal/printable"
	"pgo/worker/compose"
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
