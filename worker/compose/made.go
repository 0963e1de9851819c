package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
)

// Made is what the engine says that it has of a project, in its own words, as
// docker inspect prints them: numbers are json.Number.
type Made struct {
	Containers []map[string]any  // those that never ran
	Services   map[string]string // of all of the project's containers, by ID: their compose services
	Networks   []map[string]any  // that bear the project's label
	Runtime    string            // that a container gets which names none
	Cgroupns   string            // the same for its cgroup namespace: host or private
}

// Made asks for what there is of a project, with two calls and one more for each
// container that never ran.
func (e *Engine) Made(ctx context.Context, project string) (Made, error) {
	c, err := e.connect()
	if err != nil {
		return Made{}, err
	}
	label := filters.NewArgs(filters.Arg("label", projectLabel+"="+project))
	summaries, err := c.ContainerList(ctx, container.ListOptions{All: true, Filters: label})
	if err != nil {
		return Made{}, fmt.Errorf("cannot list the containers: %w", err)
	}
	made := Made{Services: map[string]string{}}
	for _, summary := range summaries {
		made.Services[summary.ID] = summary.Labels[serviceLabel]
		if summary.State != container.StateCreated || summary.Labels[oneoffLabel] == "True" {
			continue
		}
		_, raw, err := c.ContainerInspectWithRaw(ctx, summary.ID, false)
		if err != nil {
			return Made{}, fmt.Errorf("cannot inspect container %s: %w", summary.ID, err)
		}
		words, err := parse(raw)
		if err != nil {
			return Made{}, fmt.Errorf("cannot read what the engine says of container %s: %w", summary.ID, err)
		}
		made.Containers = append(made.Containers, words)
	}
	networks, err := c.NetworkList(ctx, network.ListOptions{Filters: label})
	if err != nil {
		return Made{}, fmt.Errorf("cannot list the networks: %w", err)
	}
	if made.Networks, err = words(networks); err != nil {
		return Made{}, err
	}
	made.Runtime, made.Cgroupns, err = e.defaultsFor(ctx, made.Containers)
	return made, err
}

// words is what the engine said, as the JSON that it said it in.
func words(said any) (all []map[string]any, err error) {
	raw, err := json.Marshal(said)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return all, d.Decode(&all)
}

// What an engine gives a container, unless its administrator says otherwise.
const (
	usualRuntime  = "runc"
	usualCgroupns = "private"
)

// defaultsFor returns the engine's defaults. It asks only where one of the
// containers has something else than what is known, which an engine that was
// started with other settings explains, too.
func (e *Engine) defaultsFor(ctx context.Context, containers []map[string]any) (runtime, cgroupns string, err error) {
	e.mu.Lock()
	runtime, cgroupns = e.runtime, e.cgroupns
	e.mu.Unlock()
	if runtime == "" {
		runtime, cgroupns = usualRuntime, usualCgroupns
	}
	if !slices.ContainsFunc(containers, func(words map[string]any) bool {
		host, _ := words["HostConfig"].(map[string]any)
		return host["Runtime"] != runtime || host["CgroupnsMode"] != cgroupns
	}) {
		return runtime, cgroupns, nil
	}
	c, err := e.connect()
	if err != nil {
		return "", "", err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return "", "", fmt.Errorf("cannot ask the engine for its settings: %w", err)
	}
	runtime, cgroupns = info.DefaultRuntime, "host"
	if slices.Contains(info.SecurityOptions, "name=cgroupns") {
		cgroupns = "private"
	}
	e.mu.Lock()
	e.runtime, e.cgroupns = runtime, cgroupns
	e.mu.Unlock()
	return runtime, cgroupns, nil
}

// Unmake removes containers that must not be started, and volumes and networks
// that were made for them. A network that something else uses stays. It does all
// that it can.
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
		note("container "+id, c.ContainerRemove(ctx, id, container.RemoveOptions{Force: true}))
	}
	for _, name := range volumes {
		note("volume "+name, c.VolumeRemove(ctx, name, false))
	}
	for _, name := range networks {
		if err := c.NetworkRemove(ctx, name); !errdefs.IsPermissionDenied(err) && !errdefs.IsConflict(err) {
			note("network "+name, err)
		}
	}
	return errors.Join(errs...)
}
