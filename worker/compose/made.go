package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"pgo/internal/policy"
)

// Made asks the engine what a project has, with two calls and one more for each container that
// never ran. The first time it also asks for the engine's defaults.
func (e *Engine) Made(ctx context.Context, project string) (policy.Made, error) {
	c, err := e.connect()
	if err != nil {
		return policy.Made{}, err
	}
	label := client.Filters{}.Add("label", projectLabel+"="+project)
	summaries, err := c.containers(ctx, true, label)
	if err != nil {
		return policy.Made{}, err
	}
	made := policy.Made{Services: map[string]string{}}
	for _, summary := range summaries {
		if !composed(summary.Labels) {
			continue
		}
		made.Services[summary.ID] = summary.Labels[serviceLabel]
		if summary.State != container.StateCreated || summary.Labels[oneoffLabel] == "True" {
			continue
		}
		var inspect json.RawMessage
		if err := c.get(ctx, "/containers/"+summary.ID+"/json", nil, &inspect); err != nil {
			return policy.Made{}, fmt.Errorf("cannot inspect container %s: %w", summary.ID, err)
		}
		words, err := parse(inspect)
		if err != nil {
			return policy.Made{}, fmt.Errorf("cannot read what the engine says about container %s: %w", summary.ID, err)
		}
		made.Containers = append(made.Containers, words)
	}
	var networks []json.RawMessage
	if err := c.get(ctx, "/networks", filtered(label), &networks); err != nil {
		return policy.Made{}, fmt.Errorf("cannot list the networks: %w", err)
	}
	for _, network := range networks {
		words, err := parse(network)
		if err != nil {
			return policy.Made{}, fmt.Errorf("cannot read what the engine says about a network: %w", err)
		}
		made.Networks = append(made.Networks, words)
	}
	made.Runtime, made.Cgroupns, made.LogDriver, err = e.Defaults(ctx, false)
	return made, err
}

// defaults are what an engine gives a container that asks for nothing else.
type defaults struct {
	runtime, cgroupns, logDriver string

	unlimited []string // what the engine cannot limit, as limitKeys name it
	uncounted bool     // containers have no control groups: what they use is not known
	rootless  bool     // it runs as a user, in that user's namespaces
}

// Defaults returns the engine's defaults. It asks once, and again when told to: the engine may
// have been started with other settings since.
func (e *Engine) Defaults(ctx context.Context, again bool) (runtime, cgroupns, logDriver string, err error) {
	d, err := e.settings(ctx, again)
	return d.runtime, d.cgroupns, d.logDriver, err
}

// Rootless reports whether the engine runs without root, as a user of its host.
func (e *Engine) Rootless(ctx context.Context) (bool, error) {
	d, err := e.settings(ctx, false)
	return d.rootless, err
}

// settings is Defaults with what only this package needs.
func (e *Engine) settings(ctx context.Context, again bool) (defaults, error) {
	e.mu.Lock()
	known := e.defaults
	e.mu.Unlock()
	if known != nil && !again {
		return *known, nil
	}
	c, err := e.connect()
	if err != nil {
		return defaults{}, err
	}
	said, err := c.Info(ctx, client.InfoOptions{})
	if err != nil {
		return defaults{}, fmt.Errorf("cannot ask the engine for its settings: %w", err)
	}
	d := defaultsOf(said.Info)
	e.mu.Lock()
	e.defaults = &d
	e.mu.Unlock()
	return d, nil
}

func defaultsOf(info system.Info) defaults {
	d := defaults{runtime: info.DefaultRuntime, cgroupns: "host", logDriver: info.LoggingDriver, uncounted: info.CgroupDriver == "none"}
	for _, limit := range limitKeys {
		if !limit.can(info) {
			d.unlimited = append(d.unlimited, limit.what)
		}
	}
	d.rootless = slices.Contains(info.SecurityOptions, "name=rootless")
	if slices.Contains(info.SecurityOptions, "name=cgroupns") {
		d.cgroupns = "private"
	}
	return d
}

// Unmake removes containers that must not be started, and the volumes and networks that were made
// for them. A network that something else uses stays. It continues after an error.
func (e *Engine) Unmake(ctx context.Context, containers, volumes, networks []string) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	var errs []error
	note := func(what string, err error) {
		if err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("cannot remove %s: %w", what, err))
		}
	}
	for _, id := range containers {
		// Its volumes stay: it may have those of the container before it.
		_, err := c.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true})
		note("container "+id, err)
	}
	for _, name := range volumes {
		_, err := c.VolumeRemove(ctx, name, client.VolumeRemoveOptions{})
		note("volume "+name, err)
	}
	for _, name := range networks {
		if _, err := c.NetworkRemove(ctx, name, client.NetworkRemoveOptions{}); !errdefs.IsPermissionDenied(err) && !errdefs.IsConflict(err) {
			note("network "+name, err)
		}
	}
	return errors.Join(errs...)
}
