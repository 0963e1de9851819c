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
	if err := o.vicinity.TryNetworks(ctx, missing); err != nil {
		return fmt.Errorf("%w; it is tried again", err)
	}
	return nil
}

// redefined returns the names of the service's networks that the candidate has otherwise.
func (o *obstacles) redefined(ctx context.Context, c *candidate) ([]string, error) {
	deployed, err := o.files.loadDeployed()
	if err != nil {
		return nil, nil // there is nothing to compare with
	}
	names, err := o.engine.OwnNetworks(ctx, o.name)
	return slices.DeleteFunc(names, func(name string) bool {
		return !compose.MakesNetwork(c.resolved, name) || compose.SameNetwork(deployed, c.resolved, name)
	}), err
}

// networksAreFree returns an error if containers of somebody else are on a network that the
// candidate defines otherwise: it cannot be made anew then.
func (o *obstacles) networksAreFree(ctx context.Context, c *candidate) error {
	names, err := o.redefined(ctx, c)
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
