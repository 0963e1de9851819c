package compose

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"
)

// Compose is a process of its own, which takes 60 to 100 ms to begin. Between the stop of what runs
// and the start of what replaces it, nobody answers for so long. So what compose would do with the
// engine and nothing else is done here, in the same order.

// StartsPlainly reports whether compose would do nothing to start these compose services, nil meaning
// all, but to ask the engine to, each after those that it depends on: nothing to wait for, no hook,
// and no file to be put into a container before.
func StartsPlainly(m *Model, services []string) bool {
	for _, name := range these(m, services) {
		s := m.services()[name]
		for _, how := range objects(s["depends_on"]) {
			if how["condition"] != "service_started" {
				return false
			}
		}
		for _, hooks := range []string{"pre_start", "post_start"} {
			if len(list(s[hooks])) > 0 {
				return false
			}
		}
		for _, section := range fileSections {
			entries := objects(m.root[section])
			for _, ref := range list(s[section]) {
				source, _ := ref["source"].(string)
				if file, _ := entries[source]["file"].(string); file == "" {
					return false
				}
			}
		}
	}
	return true
}

// StopsPlainly reports whether compose would do nothing to stop the compose services of a model but to
// ask the engine to, each before those that it depends on.
func StopsPlainly(m *Model) bool {
	for _, s := range m.services() {
		if len(list(s["pre_stop"])) > 0 {
			return false
		}
	}
	return true
}

// these returns compose services, nil meaning all.
func these(m *Model, services []string) []string {
	if services == nil {
		return m.Services()
	}
	return services
}

// InOrder sorts compose services so that each comes after those that it depends on.
func InOrder(m *Model, services []string) []string {
	sorted := slices.Clone(services)
	slices.SortStableFunc(sorted, func(x, y string) int {
		return len(m.Needs([]string{x})) - len(m.Needs([]string{y})) // what needs another needs all that it needs
	})
	return sorted
}

// Start starts the containers of these compose services that do not run, nil meaning all, for which
// StartsPlainly. If only is an ID, it starts that one alone. What the engine refuses is an ExitError, as
// if compose had started them.
func (p *Project) Start(ctx context.Context, e *Engine, m *Model, services []string, only string, out Output) error {
	c, found, err := p.plainly(ctx, e)
	if err != nil {
		return err
	}
	for _, service := range InOrder(m, these(m, services)) {
		for _, s := range found[service] {
			if s.State == container.StateRunning || only != "" && s.ID != only {
				continue
			}
			// One at a time, as compose does.
			tell(out, s, "Starting")
			if _, err := c.ContainerStart(ctx, s.ID, client.ContainerStartOptions{}); err != nil {
				return p.failed(ctx, "start", s, err)
			}
			tell(out, s, "Started")
		}
	}
	return nil
}

// Stop stops all containers of a model's compose services, for which StopsPlainly.
func (p *Project) Stop(ctx context.Context, e *Engine, m *Model, out Output) error {
	c, found, err := p.plainly(ctx, e)
	if err != nil {
		return err
	}
	var mu sync.Mutex // one line after the other
	told := func(s container.Summary, what string) {
		mu.Lock()
		defer mu.Unlock()
		tell(out, s, what)
	}
	stopped := map[string]chan struct{}{}
	for _, service := range m.Services() {
		stopped[service] = make(chan struct{})
	}
	group, ctx := errgroup.WithContext(ctx)
	for service, done := range stopped {
		group.Go(func() error {
			for other := range stopped {
				if !slices.Contains(m.Needs([]string{other}), service) {
					continue
				}
				select {
				case <-stopped[other]:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			defer close(done)
			replicas, ctx := errgroup.WithContext(ctx)
			for _, s := range found[service] {
				replicas.Go(func() error {
					if s.State != container.StateRunning && s.State != container.StateRestarting && s.State != container.StatePaused {
						return nil
					}
					told(s, "Stopping")
					if _, err := c.ContainerStop(ctx, s.ID, client.ContainerStopOptions{}); err != nil && !errdefs.IsNotFound(err) {
						return p.failed(ctx, "stop", s, err)
					}
					told(s, "Stopped")
					return nil
				})
			}
			return replicas.Wait()
		})
	}
	return group.Wait()
}

// plainly returns the engine, and the containers that compose has made for the project, by compose
// service and in the order of their numbers.
func (p *Project) plainly(ctx context.Context, e *Engine) (*connection, map[string][]container.Summary, error) {
	c, err := e.connect()
	if err != nil {
		return nil, nil, err
	}
	all, err := c.containers(ctx, true, ofProject(p.Name))
	if err != nil {
		return nil, nil, err
	}
	found := map[string][]container.Summary{}
	for _, s := range all {
		found[s.Labels[serviceLabel]] = append(found[s.Labels[serviceLabel]], s)
	}
	for _, of := range found {
		slices.SortStableFunc(of, func(x, y container.Summary) int { return number(x) - number(y) })
	}
	return c, found, nil
}

// tell says what is done to a container, in the words of compose.
func tell(out Output, s container.Summary, what string) {
	_, _ = fmt.Fprintf(writer{out.Stderr}, " Container %s  %s\n", shortName(s), what)
}

// failed returns the error for a container that the engine does not start or stop.
func (p *Project) failed(ctx context.Context, what string, s container.Summary, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &ExitError{Status: 1, Output: p.Redact(fmt.Sprintf("cannot %s container %s: %v", what, shortName(s), err))}
}
