package compose

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
)

// Mount is a mount of one of a project's containers.
type Mount struct {
	Container, Name string // the container's ID and name
	Service         string // its compose service
	Volume          string // the volume's name; empty: it is not a volume
	Source          string // the path on the host; empty: a volume that the engine keeps
	Target          string // the path in the container
	Writable        bool
}

// Mounts returns the mounts of a project's containers in any state.
func (e *Engine) Mounts(ctx context.Context, project string) ([]Mount, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	summaries, err := c.containers(ctx, true, client.Filters{}.Add("label", projectLabel+"="+project))
	if err != nil {
		return nil, err
	}
	var all []Mount
	var volumes []string
	for _, summary := range summaries {
		for _, m := range summary.Mounts {
			found := Mount{Container: summary.ID, Service: summary.Labels[serviceLabel], Target: m.Destination, Writable: m.RW}
			if len(summary.Names) > 0 {
				found.Name = strings.TrimPrefix(summary.Names[0], "/")
			}
			switch m.Type {
			case mount.TypeBind:
				found.Source = m.Source
			case mount.TypeVolume:
				found.Volume = m.Name
				volumes = append(volumes, m.Name)
			case mount.TypeTmpfs:
				continue
			}
			all = append(all, found)
		}
	}
	made, err := e.Volumes(ctx, volumes)
	if err != nil {
		return nil, err
	}
	for i, m := range all {
		if device := made[m.Volume].Options["device"]; filepath.IsAbs(device) {
			all[i].Source = device
		}
	}
	return all, nil
}

// Volume is how the engine made a volume, which stays so whatever a model says.
type Volume struct {
	Driver  string
	Options map[string]string
	Labels  map[string]string // without compose's own
	Project string            // the project that compose made it for; empty: made by somebody else
}

// Volumes returns those of the named volumes that exist, with one call.
func (e *Engine) Volumes(ctx context.Context, names []string) (map[string]Volume, error) {
	found := map[string]Volume{}
	if len(names) == 0 {
		return found, nil
	}
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	list, err := c.VolumeList(ctx, client.VolumeListOptions{})
	if err != nil {
		return nil, fmt.Errorf("cannot list the volumes: %w", err)
	}
	for _, v := range list.Items {
		if slices.Contains(names, v.Name) {
			labels := maps.Clone(v.Labels)
			maps.DeleteFunc(labels, func(name, _ string) bool { return strings.HasPrefix(name, composeLabels) })
			found[v.Name] = Volume{Driver: v.Driver, Options: v.Options, Labels: labels, Project: v.Labels[projectLabel]}
		}
	}
	// The list lacks the volumes of a driver that does not answer.
	if len(list.Warnings) > 0 && slices.ContainsFunc(names, func(name string) bool { _, there := found[name]; return !there }) {
		return nil, fmt.Errorf("cannot list the volumes: %s", strings.Join(list.Warnings, "; "))
	}
	return found, nil
}

// End stops a container, within its grace period, and removes it. Its volumes stay.
func (e *Engine) End(ctx context.Context, id string) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	if _, err := c.ContainerStop(ctx, id, client.ContainerStopOptions{}); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("cannot stop container %s: %w", id, err)
	}
	if _, err := c.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true}); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("cannot remove container %s: %w", id, err)
	}
	return nil
}
