package compose

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Usage is what a container uses.
type Usage struct {
	Container
	CPU    uint64 // of all cores, since its start: nanoseconds
	Memory uint64 // bytes, without what the kernel can drop; 0 while it runs: neither is known
}

const (
	// maxUsages bounds how many containers are measured.
	maxUsages = 200
	// usagesAtOnce bounds how many are measured at the same time: the engine has other work.
	usagesAtOnce = 8
)

// Usage measures a project's containers, stopped ones too, by name. If there are very many, it
// measures the first ones.
func (e *Engine) Usage(ctx context.Context, project string) ([]Usage, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	found, err := c.containers(ctx, true, ofProject(project))
	if err != nil {
		return nil, err
	}
	settings, err := e.settings(ctx, false)
	if err != nil {
		return nil, err
	}
	summaries := found[:min(len(found), maxUsages)]
	usages, errs := make([]Usage, len(summaries)), make([]error, len(summaries))
	turns := make(chan struct{}, usagesAtOnce)
	var measuring sync.WaitGroup
	for i, s := range summaries {
		measuring.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			usages[i], errs[i] = measure(ctx, c, s.ID, !settings.uncounted)
		})
	}
	measuring.Wait()
	var all []Usage
	for i, err := range errs {
		switch {
		case errdefs.IsNotFound(err):
			// Removed since.
		case err != nil:
			return nil, fmt.Errorf("cannot measure container %s: %w", summaries[i].ID, err)
		default:
			all = append(all, usages[i])
		}
	}
	slices.SortFunc(all, func(a, b Usage) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// measure measures one container. Where containers have no control groups of their own, the engine
// would report what the engine's own has used, or the whole host.
func measure(ctx context.Context, c *connection, id string, counted bool) (Usage, error) {
	inspect, err := c.container(ctx, id)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Container: containerOf(inspect)}
	if state := inspect.State; state == nil || !state.Running || !counted {
		return u, nil
	}
	// Without a previous sample, which `docker stats` takes: that takes the engine a second.
	reader, err := c.ContainerStats(ctx, id, client.ContainerStatsOptions{})
	if err != nil {
		return Usage{}, err
	}
	defer func() { _ = reader.Body.Close() }()
	var stats container.StatsResponse
	if err := json.NewDecoder(reader.Body).Decode(&stats); err != nil {
		return Usage{}, err
	}
	u.CPU, u.Memory = stats.CPUStats.CPUUsage.TotalUsage, memory(stats.MemoryStats)
	return u, nil
}

// memory returns what a container uses, without the files that the kernel can drop, as `docker
// stats` counts.
func memory(s container.MemoryStats) uint64 {
	droppable, version1 := s.Stats["total_inactive_file"]
	if !version1 { // of cgroups
		droppable = s.Stats["inactive_file"]
	}
	if droppable >= s.Usage {
		return s.Usage
	}
	return s.Usage - droppable
}

// HostContainer is a running container that is in the host's network, or may be: in that of
// another container. The engine does not know at which ports it listens.
type HostContainer struct{ ID, Name string }

// PortsOf returns the host ports that a project's running containers have, by port, and by name
// those containers that have ports without the engine's help.
func (e *Engine) PortsOf(ctx context.Context, project string) ([]Published, []HostContainer, error) {
	c, err := e.connect()
	if err != nil {
		return nil, nil, err
	}
	summaries, err := c.containers(ctx, false, ofProject(project))
	if err != nil {
		return nil, nil, err
	}
	ports, onHost := published(summaries), []HostContainer(nil)
	for _, s := range summaries {
		if mode := container.NetworkMode(s.HostConfig.NetworkMode); mode.IsHost() || mode.IsContainer() {
			onHost = append(onHost, HostContainer{s.ID, shortName(s)})
		}
	}
	slices.SortFunc(ports, func(a, b Published) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.IP, b.IP), cmp.Compare(a.Container, b.Container))
	})
	slices.SortFunc(onHost, func(a, b HostContainer) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return ports, onHost, nil
}

// shortName returns what people call a container.
func shortName(s container.Summary) string {
	if len(s.Names) > 0 {
		return strings.TrimPrefix(s.Names[0], "/")
	}
	return s.ID[:min(len(s.ID), 12)]
}

// published returns the host ports of containers.
func published(summaries []container.Summary) []Published {
	var all []Published
	for _, s := range summaries {
		for _, p := range s.Ports {
			if p.PublicPort == 0 {
				continue
			}
			one := Published{Container: shortName(s), Project: s.Labels[projectLabel], Port: int(p.PublicPort), Protocol: p.Type}
			if p.IP.IsValid() {
				one.IP = p.IP.String()
			}
			all = append(all, one)
		}
	}
	return all
}
