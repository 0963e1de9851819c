package compose

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// configLabel is the label that every container has that compose manages: what it was made from.
const configLabel = "com.docker.compose.config-hash"

// composed reports whether compose has made a container with these labels. The images that it
// builds have the project's label, too, and so has whatever somebody makes of them by hand.
func composed(labels map[string]string) bool { return labels[configLabel] != "" }

// networkLabel is the label of the networks that compose makes.
const networkLabel = "com.docker.compose.network"

// Retired describes a container that does not run and that the engine never starts again by
// itself. It waits to be replaced, and keeps its volumes until then.
type Retired struct {
	ID, Name, Service string
	Ran               bool // ever
}

// Retire makes sure that none of the containers that compose has made for a project runs, or is
// started again by its restart policy or with the host. It removes those of `compose run`, and of
// several containers with one number all but the oldest: compose was killed while it replaced
// that one. What the engine could not remove wholly is not returned.
func (e *Engine) Retire(ctx context.Context, project string) ([]Retired, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	found, err := c.containers(ctx, true, client.Filters{}.Add("label", projectLabel+"="+project, configLabel))
	if err != nil {
		return nil, err
	}
	summaries := found
	made := map[string]time.Time{} // by ID
	for _, s := range summaries {
		if s.State == container.StateDead || s.State == container.StateRemoving {
			// It never runs again, and the engine refuses to change it. If it cannot be removed now
			// either, that is nothing to wait for.
			_, _ = c.ContainerRemove(ctx, s.ID, client.ContainerRemoveOptions{Force: true})
			continue
		}
		if s.Labels[oneoffLabel] == "True" {
			if err := e.End(ctx, s.ID); err != nil {
				return nil, err
			}
			continue
		}
		inspect, err := c.container(ctx, s.ID)
		if err == nil {
			made[s.ID], _ = time.Parse(time.RFC3339Nano, inspect.Created)
			err = e.retire(ctx, s.ID)
		}
		if errdefs.IsNotFound(err) {
			delete(made, s.ID) // removed since
		} else if err != nil {
			return nil, fmt.Errorf("cannot stop container %s: %w", s.ID, err)
		}
	}
	summaries = slices.DeleteFunc(summaries, func(s container.Summary) bool { return made[s.ID].IsZero() })
	slices.SortFunc(summaries, func(a, b container.Summary) int { return made[a.ID].Compare(made[b.ID]) })
	var all []Retired
	seen := map[string]bool{}
	for _, s := range summaries {
		place := s.Labels[serviceLabel] + " " + s.Labels[numberLabel]
		if seen[place] {
			if err := e.End(ctx, s.ID); err != nil {
				return nil, err
			}
			continue
		}
		seen[place] = true
		r := Retired{ID: s.ID, Service: s.Labels[serviceLabel], Ran: s.State != container.StateCreated}
		if len(s.Names) > 0 {
			r.Name = strings.TrimPrefix(s.Names[0], "/")
		}
		all = append(all, r)
	}
	return all, nil
}

func (e *Engine) retire(ctx context.Context, id string) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	never := client.ContainerUpdateOptions{RestartPolicy: &container.RestartPolicy{Name: container.RestartPolicyDisabled}}
	if _, err := c.ContainerUpdate(ctx, id, never); err != nil {
		return err
	}
	_, err = c.ContainerStop(ctx, id, client.ContainerStopOptions{}) // most do not run any more
	return err
}

// SetAside gives a container a name that nobody asks for.
func (e *Engine) SetAside(ctx context.Context, r Retired) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	// Not in the way of compose's own name for what replaces it, which begins with the ID.
	aside := client.ContainerRenameOptions{NewName: r.Name + "-before-" + r.ID[:min(12, len(r.ID))]}
	if _, err := c.ContainerRename(ctx, r.ID, aside); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("cannot rename container %s: %w", r.Name, err)
	}
	return nil
}

// Unpause continues the paused containers of the given compose services, nil meaning all.
func (e *Engine) Unpause(ctx context.Context, project string, services []string) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	paused := ofProject(project).Add("status", string(container.StatePaused))
	summaries, err := c.containers(ctx, true, paused)
	if err != nil {
		return err
	}
	for _, s := range summaries {
		if services != nil && !slices.Contains(services, s.Labels[serviceLabel]) {
			continue
		}
		if _, err := c.ContainerUnpause(ctx, s.ID, client.ContainerUnpauseOptions{}); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			return fmt.Errorf("cannot continue container %s: %w", s.ID, err)
		}
	}
	return nil
}

// OthersOn returns the names of the running containers on a network that are not of the project.
func (e *Engine) OthersOn(ctx context.Context, name, project string) ([]string, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	found, err := c.network(ctx, name)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot inspect network %s: %w", name, err)
	}
	own, err := c.containers(ctx, false, client.Filters{}.Add("label", projectLabel+"="+project))
	if err != nil {
		return nil, err
	}
	var others []string
	for id, endpoint := range found.Containers {
		if !slices.ContainsFunc(own, func(s container.Summary) bool { return s.ID == id }) {
			others = append(others, endpoint.Name)
		}
	}
	slices.Sort(others)
	return others, nil
}

// OwnNetworks returns the networks that compose has made for a project, with the addresses that they
// have.
func (e *Engine) OwnNetworks(ctx context.Context, project string) ([]Network, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	found, err := c.networks(ctx, client.Filters{}.Add("label", projectLabel+"="+project, networkLabel))
	if err != nil {
		return nil, err
	}
	var all []Network
	for _, n := range found {
		all = append(all, Network{Key: n.Labels[networkLabel], Name: n.Name, Driver: n.Driver, IPv6: n.EnableIPv6, Subnets: n.subnets()})
	}
	return all, nil
}
