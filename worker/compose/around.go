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

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// Surroundings identifies what else is on an engine. When it changes, what was in the way may be
// gone.
type Surroundings struct {
	Boot   string `json:"boot"`   // see Engine.Boot
	Others string `json:"others"` // a hash of the other projects' containers and networks
}

// Known reports whether the engine could be asked.
func (s Surroundings) Known() bool { return s != Surroundings{} }

// Vicinity is what else is on an engine next to a project: what may be in the way.
type Vicinity struct {
	Engine  *Engine
	Project string
}

// Surroundings returns what identifies the vicinity as it is now.
func (v *Vicinity) Surroundings(ctx context.Context) (Surroundings, error) {
	boot, err := v.Engine.Boot(ctx)
	if err != nil {
		return Surroundings{}, err
	}
	c, err := v.Engine.connect()
	if err != nil {
		return Surroundings{}, err
	}
	summaries, err := c.containers(ctx, true, nil)
	if err != nil {
		return Surroundings{}, err
	}
	networks, err := c.networks(ctx, nil)
	if err != nil {
		return Surroundings{}, err
	}
	var others []string
	for _, s := range summaries {
		if s.Labels[projectLabel] != v.Project {
			others = append(others, s.ID+strings.Join(s.Names, " "))
		}
	}
	for _, n := range networks {
		if n.Labels[projectLabel] != v.Project && !isProbe(n, n.Labels[probeLabel]) {
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
func (v *Vicinity) NamesHeld(ctx context.Context) (map[string]string, error) {
	c, err := v.Engine.connect()
	if err != nil {
		return nil, err
	}
	summaries, err := c.containers(ctx, true, nil)
	if err != nil {
		return nil, err
	}
	held := map[string]string{}
	for _, s := range summaries {
		owner := s.Labels[projectLabel]
		if owner == v.Project && composed(s.Labels) {
			continue
		}
		by := "a container that compose has not made"
		if owner != "" && owner != v.Project {
			by = "a container of the project " + owner
		}
		for _, name := range s.Names {
			held[strings.TrimPrefix(name, "/")] = by
		}
	}
	return held, nil
}

// Networks returns which of the project's networks exist without being compose's own for it, by
// name, and which do not exist.
func (v *Vicinity) Networks(ctx context.Context, wanted []Network) (foreign []string, missing []Network, err error) {
	if len(wanted) == 0 {
		return nil, nil, nil
	}
	c, err := v.Engine.connect()
	if err != nil {
		return nil, nil, err
	}
	found, err := c.networks(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	for _, w := range wanted {
		there, own := false, false
		for _, n := range found {
			if n.Name == w.Name {
				// One with another key is made anew.
				there, own = true, own || n.Labels[projectLabel] == v.Project && n.Labels[networkLabel] != ""
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
	// probeName is what their names begin with. The project follows.
	probeName = "pgo-probe-"
	// probeTime bounds the removal of these networks.
	probeTime = 20 * time.Second
)

// isProbe reports whether TryNetworks has made a network for a project. A compose file can set the
// label, too, but then compose adds its own.
func isProbe(n networkSaid, project string) bool {
	return n.Labels[probeLabel] == project && n.Labels[projectLabel] == "" && strings.HasPrefix(n.Name, probeName+project+"-")
}

// TryNetworks finds out whether the engine can make these networks: it makes others like them, all
// at the same time, and removes them. Only the engine knows which addresses it has left, and
// whether its firewall works. Only bridges are tried, and none that waits for the addresses of a
// network that goes before: either its own, or one of those that the engine chooses, pools of
// which are given back.
func (v *Vicinity) TryNetworks(ctx context.Context, wanted, going []Network, pools int) (err error) {
	if err := v.RemoveProbes(ctx); err != nil {
		return err
	}
	wanted = slices.DeleteFunc(slices.Clone(wanted), func(n Network) bool {
		if n.Driver != "" && n.Driver != "bridge" || slices.ContainsFunc(going, n.overlaps) {
			return true
		}
		isFree := n.FromPool() && pools > 0
		if isFree {
			pools--
		}
		return isFree
	})
	if len(wanted) == 0 {
		return nil
	}
	c, err := v.Engine.connect()
	if err != nil {
		return err
	}
	defer func() {
		if left := v.RemoveProbes(context.WithoutCancel(ctx)); err == nil {
			err = left
		}
	}()
	for i, n := range wanted {
		if n.Wrong != nil {
			return fmt.Errorf("the engine cannot make the network %s: %w", n.Name, n.Wrong)
		}
		options := client.NetworkCreateOptions{Driver: "bridge", Labels: map[string]string{probeLabel: v.Project}}
		if len(n.Subnets) > 0 {
			options.IPAM = &network.IPAM{Config: n.Subnets}
		}
		if n.IPv6 {
			options.EnableIPv6 = &n.IPv6
		}
		if n.NoIPv4 {
			options.EnableIPv4 = new(bool)
		}
		if _, err := c.NetworkCreate(ctx, fmt.Sprintf("%s%s-%d", probeName, v.Project, i), options); err != nil {
			return fmt.Errorf("the engine cannot make the network %s: %w", n.Name, err)
		}
	}
	return nil
}

// overlaps reports whether two networks have addresses in common.
func (n Network) overlaps(other Network) bool {
	return slices.ContainsFunc(n.Subnets, func(one network.IPAMConfig) bool {
		return slices.ContainsFunc(other.Subnets, func(two network.IPAMConfig) bool {
			return one.Subnet.Overlaps(two.Subnet)
		})
	})
}

// RemoveProbes removes what TryNetworks has made. A worker that was killed has left it.
func (v *Vicinity) RemoveProbes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	c, err := v.Engine.connect()
	if err != nil {
		return err
	}
	probes, err := c.networks(ctx, client.Filters{}.Add("label", probeLabel+"="+v.Project))
	if err != nil {
		return err
	}
	for _, n := range probes {
		if !isProbe(n, v.Project) {
			continue
		}
		if _, err := c.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{}); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("cannot remove the network %s: %w", n.Name, err)
		}
	}
	return nil
}
