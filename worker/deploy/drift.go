package deploy

import (
	"context"
	"fmt"
	"slices"

	"pgo/worker/compose"
)

// Made is what the engine had of a compose service right after pgo had created it. What runs
// is compared with that, and not with the model: the engine has its own words for a model.
type Made struct {
	Config   string   `json:"config"` // compose's hash of what it was made from
	Image    string   `json:"image"`  // its ID
	Networks []string `json:"networks,omitempty"`
}

// rememberMade saves what was created of the given compose services, nil meaning all.
func (s *starter) rememberMade(ctx context.Context, c *candidate, services []string) error {
	containers, err := s.engine.Containers(ctx, s.name)
	if err != nil {
		return err
	}
	made := map[string]Made{}
	known, old := c.resolved.Services(), s.store.snapshot().Made
	for _, name := range known {
		if was, there := old[name]; there && services != nil && !slices.Contains(services, name) {
			made[name] = was
		}
	}
	for _, container := range containers {
		name := container.Service
		if slices.Contains(known, name) && (services == nil || slices.Contains(services, name)) && !slices.Contains(c.retired, container.ID) {
			made[name] = Made{Config: container.Config, Image: container.Image, Networks: container.Networks}
		}
	}
	return s.store.update(func(st *State) { st.Made = made })
}

// astray returns the compose services with a running container that is not as pgo has made it,
// or no longer where it was.
func astray(model *compose.Model, containers []compose.Container, state State) []string {
	names := behind(model, containers, state.Containers.Stopped)
	for _, c := range containers {
		made, known := state.Made[c.Service]
		if !known || c.State != "running" || slices.Contains(state.Containers.Stopped, c.Service) || !slices.Contains(model.Services(), c.Service) {
			continue
		}
		left := slices.ContainsFunc(made.Networks, func(network string) bool { return !slices.Contains(c.Networks, network) })
		if left || c.Config != made.Config || c.Image != made.Image {
			names = add(names, c.Service)
		}
	}
	return names
}

// behind returns the compose services with a running container that shares a namespace with
// another one as that was before it was replaced or started again.
func behind(model *compose.Model, containers []compose.Container, stopped []string) (names []string) {
	for _, c := range containers {
		if c.State != "running" || slices.Contains(stopped, c.Service) || !compose.SharesNamespace(model, c.Service) {
			continue
		}
		for _, id := range c.Shares {
			i := slices.IndexFunc(containers, func(other compose.Container) bool { return other.ID == id })
			if i < 0 || containers[i].Started.After(c.Started) {
				names = add(names, c.Service)
			}
		}
	}
	return names
}

// catchUp makes the containers anew that share a namespace with one that was just started.
func (cs *containers) catchUp(ctx context.Context, out compose.Output, c *candidate) error {
	for range c.resolved.Services() { // one may follow another
		if !c.resolved.SharesContainers() {
			return nil
		}
		containers, err := cs.engine.Containers(ctx, cs.name)
		if err != nil {
			return err
		}
		services := behind(c.resolved, containers, cs.store.snapshot().Containers.Stopped)
		if len(services) == 0 {
			return nil
		}
		say(out, "made anew, as it shares a namespace with what was started: %s", joined(services))
		if err := cs.starter.start(ctx, out, c, services, "--force-recreate"); err != nil {
			return err
		}
	}
	return nil
}

// superfluous describes the containers that the model has no place for.
func superfluous(model *compose.Model, containers []compose.Container) (all []string) {
	for _, name := range tooMany(model, containers) {
		n := 0
		for _, c := range containers {
			if c.Service == name {
				n++
			}
		}
		all = append(all, fmt.Sprintf("%s has %d containers instead of %d: up removes the others", name, n, model.Replicas(name)))
	}
	for _, c := range strays(model, containers) {
		if len(all) > maxUnwell {
			break
		}
		all = append(all, c.Name+" is of no compose service of the file: up removes it")
	}
	return all
}

// tooMany returns the compose services that have more containers than they should have.
func tooMany(model *compose.Model, containers []compose.Container) (names []string) {
	there := map[string]int{}
	for _, c := range containers {
		if there[c.Service]++; slices.Contains(model.Services(), c.Service) && there[c.Service] > model.Replicas(c.Service) {
			names = add(names, c.Service)
		}
	}
	return names
}

// strays returns the containers of compose services that the model does not have. Those without
// compose's hash are not compose's.
func strays(model *compose.Model, containers []compose.Container) []compose.Container {
	return slices.DeleteFunc(slices.Clone(containers), func(c compose.Container) bool {
		return c.Config == "" || slices.Contains(model.Services(), c.Service)
	})
}
