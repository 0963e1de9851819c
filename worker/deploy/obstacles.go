package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/compose"
)

// obstacles finds what else is on the engine and would be in the way of a switch, before
// anything is taken down.
type obstacles struct {
	name     string
	engine   *compose.Engine
	vicinity *compose.Vicinity
	files    *workspace
	log      hclog.Logger
}

// engineIsNewEnough returns an error if the candidate has a key that this engine does not know.
func (o *obstacles) engineIsNewEnough(ctx context.Context, c *candidate) error {
	if err := o.engine.TooNew(ctx, c.resolved); err != nil {
		return fmt.Errorf("%w; it is tried again", err)
	}
	return nil
}

// namesAreFree returns an error if somebody else has a container by the name of one of the
// candidate's.
func (o *obstacles) namesAreFree(ctx context.Context, c *candidate) error {
	held, err := o.vicinity.NamesHeld(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(compose.ContainerNames(c.resolved, o.name))) {
		if by, is := held[name]; is {
			return fmt.Errorf("the container name %s is taken by %s: remove it, or give another name; it is tried again", name, by)
		}
	}
	return nil
}

// networksCanBeMade returns an error if a network of the candidate exists and is not compose's
// own, or could not be made.
func (o *obstacles) networksCanBeMade(ctx context.Context, c *candidate) error {
	foreign, missing, err := o.vicinity.Networks(ctx, compose.NetworksOf(c.resolved))
	if err != nil {
		return err
	}
	if len(foreign) > 0 {
		return fmt.Errorf("the network %s exists, and compose has not made it for %s: remove it, or declare it as external; it is tried again",
			foreign[0], o.name)
	}
	going, pools, err := o.givenBack(ctx, c)
	if err != nil {
		return err
	}
	if err := o.vicinity.TryNetworks(ctx, missing, going, pools); err != nil {
		return fmt.Errorf("%w; it is tried again", err)
	}
	return nil
}

// going returns the service's networks that a switch removes while nothing runs: those that the
// candidate does not have, or not like this.
func (o *obstacles) going(ctx context.Context, c *candidate) ([]compose.Network, error) {
	networks, err := o.engine.OwnNetworks(ctx, o.name)
	if err != nil || len(networks) == 0 {
		return nil, err
	}
	deployed, unknown := o.files.loadDeployed()
	outside := c.resolved.Outside("networks")
	return slices.DeleteFunc(networks, func(n compose.Network) bool {
		same := unknown == nil && compose.SameNetwork(deployed, c.resolved, n.Name) && !hasOtherKey(c, n)
		return slices.Contains(outside, n.Name) || same
	}), nil
}

// hasOtherKey reports whether compose refuses a network since its key in the file was another.
func hasOtherKey(c *candidate, n compose.Network) bool {
	return slices.ContainsFunc(compose.NetworksOf(c.resolved), func(w compose.Network) bool { return w.Name == n.Name && w.Key != n.Key })
}

// givenBack returns those networks that go and that nobody else is on, and how many sets of
// addresses that the engine has chosen are free then.
func (o *obstacles) givenBack(ctx context.Context, c *candidate) (going []compose.Network, pools int, err error) {
	if going, err = o.going(ctx, c); err != nil || len(going) == 0 {
		return nil, 0, err
	}
	chosen := map[string]bool{} // by the engine
	if deployed, err := o.files.loadDeployed(); err == nil {
		for _, n := range compose.NetworksOf(deployed) {
			chosen[n.Name] = n.FromPool()
		}
	}
	var free []compose.Network
	for _, n := range going {
		others, err := o.engine.OthersOn(ctx, n.Name, o.name)
		if err != nil {
			return nil, 0, err
		}
		if len(others) > 0 {
			continue // it stays
		}
		if free = append(free, n); chosen[n.Name] {
			pools++
		}
	}
	for _, n := range compose.NetworksOf(c.resolved) {
		if n.FromPool() && slices.Contains(namesOf(free), n.Name) {
			pools-- // it is made anew
		}
	}
	return free, max(pools, 0), nil
}

// redefined returns the names of the service's networks that are in the way of a switch in place:
// the candidate has them otherwise, or others instead, which may need their addresses.
func (o *obstacles) redefined(ctx context.Context, c *candidate) ([]string, error) {
	names, err := o.otherwise(ctx, c)
	if err != nil || len(names) > 0 {
		return names, err
	}
	_, missing, err := o.vicinity.Networks(ctx, compose.NetworksOf(c.resolved))
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	going, err := o.going(ctx, c)
	return slices.DeleteFunc(namesOf(going), func(name string) bool { return compose.MakesNetwork(c.resolved, name) }), err
}

// otherwise returns the names of the service's networks that the candidate has otherwise.
func (o *obstacles) otherwise(ctx context.Context, c *candidate) ([]string, error) {
	going, err := o.going(ctx, c)
	_, unknown := o.files.loadDeployed()
	return namesOf(slices.DeleteFunc(going, func(n compose.Network) bool {
		// Without a deployed model, nothing is known about one but its key.
		return !compose.MakesNetwork(c.resolved, n.Name) || unknown != nil && !hasOtherKey(c, n)
	})), err
}

func namesOf(networks []compose.Network) []string {
	var names []string
	for _, n := range networks {
		names = append(names, n.Name)
	}
	return names
}

// networksAreFree returns an error if containers of somebody else are on a network that the
// candidate defines otherwise: it cannot be made anew then.
func (o *obstacles) networksAreFree(ctx context.Context, c *candidate) error {
	names, err := o.otherwise(ctx, c)
	if err != nil {
		return err
	}
	for _, name := range names {
		others, err := o.engine.OthersOn(ctx, name, o.name)
		if err != nil {
			return err
		}
		if len(others) > 0 {
			return fmt.Errorf("the network %s is defined otherwise and has to be made anew, and containers of others are on it (%s): "+
				"take them off it; it is tried again", brief(name), brief(joined(others)))
		}
	}
	return nil
}

// surroundings returns what identifies the surroundings now, for faults.
func (o *obstacles) surroundings(ctx context.Context) func() compose.Surroundings {
	return func() compose.Surroundings {
		ctx, cancel := context.WithTimeout(ctx, surroundingsTime)
		defer cancel()
		around, err := o.vicinity.Surroundings(ctx)
		if err != nil {
			o.log.Debug("cannot look at the surroundings", "error", err)
		}
		return around
	}
}

const surroundingsTime = 10 * time.Second
