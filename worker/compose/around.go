package compose

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
)

// Surroundings identifies what else is on an engine. When it changes, what was in the way may be
// gone.
type Surroundings struct {
	Boot   string `json:"boot"`   // see Engine.Boot
	Others string `json:"others"` // a hash of the other projects' containers and networks
}

// Known reports whether the engine could be asked.
func (s Surroundings) Known() bool { return s != Surroundings{} }

// Surroundings returns what identifies the surroundings of a project.
func (e *Engine) Surroundings(ctx context.Context, project string) (Surroundings, error) {
	boot, err := e.Boot(ctx)
	if err != nil {
		return Surroundings{}, err
	}
	c, err := e.connect()
	if err != nil {
		return Surroundings{}, err
	}
	summaries, err := c.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return Surroundings{}, fmt.Errorf("cannot list the containers: %w", err)
	}
	networks, err := c.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return Surroundings{}, fmt.Errorf("cannot list the networks: %w", err)
	}
	var others []string
	for _, s := range summaries {
		if s.Labels[projectLabel] != project {
			others = append(others, s.ID+strings.Join(s.Names, " "))
		}
	}
	for _, n := range networks {
		if n.Labels[projectLabel] != project && n.Labels[probeLabel] == "" {
			others = append(others, n.ID)
		}
	}
	slices.Sort(others)
	h := sha256.New()
	for _, other := range others {
		_, _ = io.WriteString(h, other+"\n")
	}
	return Surroundings{Boot: boot, Others: hex.EncodeToString(h.Sum(nil)[:8])}, nil
}

// NamesHeld returns the names of the containers that are not the project's own, and what has
// each, in words.
func (e *Engine) NamesHeld(ctx context.Context, project string) (map[string]string, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	summaries, err := c.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, fmt.Errorf("cannot list the containers: %w", err)
	}
	held := map[string]string{}
	for _, s := range summaries {
		owner := s.Labels[projectLabel]
		if owner == project {
			continue
		}
		by := "a container that belongs to no project"
		if owner != "" {
			by = "a container of the project " + owner
		}
		for _, name := range s.Names {
			held[strings.TrimPrefix(name, "/")] = by
		}
	}
	return held, nil
}

// Networks returns which of a project's networks exist without being compose's own for that
// project, by name, and which do not exist.
func (e *Engine) Networks(ctx context.Context, project string, wanted []Network) (foreign []string, missing []Network, err error) {
	if len(wanted) == 0 {
		return nil, nil, nil
	}
	c, err := e.connect()
	if err != nil {
		return nil, nil, err
	}
	found, err := c.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("cannot list the networks: %w", err)
	}
	for _, w := range wanted {
		there, own := false, false
		for _, n := range found {
			if n.Name == w.Name {
				there, own = true, own || n.Labels[projectLabel] == project && n.Labels[networkLabel] == w.Key
			}
		}
		switch {
		case !there:
			missing = append(missing, w)
		case !own:
			foreign = append(foreign, w.Name)
		}
	}
	return foreign, missing, nil
}

const (
	// probeLabel is on the networks of TryNetworks. Its value is the project.
	probeLabel = "pgo.probe"
	// probeTime bounds the removal of these networks.
	probeTime = 20 * time.Second
)

// TryNetworks finds out whether the engine can make these networks: it makes others like them, all
// at the same time, and removes them. Only the engine knows which addresses it has left, and
// whether its firewall works. Only bridges are tried.
func (e *Engine) TryNetworks(ctx context.Context, project string, wanted []Network) (err error) {
	wanted = slices.DeleteFunc(slices.Clone(wanted), func(n Network) bool { return n.Driver != "" && n.Driver != "bridge" })
	if len(wanted) == 0 {
		return nil
	}
	c, err := e.connect()
	if err != nil {
		return err
	}
	if err := e.removeProbes(ctx, project); err != nil { // of a worker that ended
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTime)
		defer cancel()
		if left := e.removeProbes(ctx, project); err == nil {
			err = left
		}
	}()
	for i, n := range wanted {
		options := network.CreateOptions{Driver: "bridge", Labels: map[string]string{probeLabel: project}}
		if len(n.Subnets) > 0 {
			options.IPAM = &network.IPAM{Config: n.Subnets}
		}
		if n.IPv6 {
			options.EnableIPv6 = &n.IPv6
		}
		if _, err := c.NetworkCreate(ctx, fmt.Sprintf("pgo-probe-%s-%d", project, i), options); err != nil {
			return fmt.Errorf("the engine cannot make the network %s: %w", n.Name, err)
		}
	}
	return nil
}

func (e *Engine) removeProbes(ctx context.Context, project string) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	probes, err := c.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("label", probeLabel+"="+project))})
	if err != nil {
		return fmt.Errorf("cannot list the networks: %w", err)
	}
	for _, n := range probes {
		if err := c.NetworkRemove(ctx, n.ID); err != nil {
			return fmt.Errorf("cannot remove the network %s: %w", n.Name, err)
		}
	}
	return nil
}
