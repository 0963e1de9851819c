package deploy

import (
	"context"
	"slices"

	"pgo/internal/printable"
	"pgo/worker/compose"
)

// retire ends everything that runs, without removing it: compose hands the anonymous volumes of
// a container on to the one that replaces it. From then on the engine starts none of it by
// itself, so the checkout may move.
func (d *deployer) retire(ctx context.Context, c *candidate, o order) error {
	mounts, err := d.engine.Mounts(ctx, d.cfg.Name)
	if err != nil {
		return err
	}
	there, err := d.engine.Containers(ctx, d.cfg.Name)
	if err != nil {
		return err
	}
	if len(there) > 0 {
		if err := d.files.stopDeployed(ctx, d.engine, o.out); err != nil {
			return err
		}
	}
	old, err := d.engine.Retire(ctx, d.cfg.Name)
	if err != nil {
		return err
	}
	c.retired = nil
	names := compose.ContainerNames(c.resolved, d.cfg.Name)
	for _, r := range old {
		stays, err := d.mayStay(ctx, c, r, mounts)
		if err != nil {
			return err
		}
		if !stays {
			if err := d.engine.End(ctx, r.ID); err != nil {
				return err
			}
			continue
		}
		if service, wanted := names[r.Name]; wanted && service != r.Service {
			if err := d.engine.SetAside(ctx, r); err != nil {
				return err
			}
		}
		c.retired = append(c.retired, r.ID)
	}
	c.unnamed = unnamed(mounts)
	return d.dropNetworks(ctx, c)
}

// mayStay reports whether a retired container can wait to be replaced. One that never ran and
// that nothing replaces has no data. And compose would pass on what the new model does not ask
// for.
func (d *deployer) mayStay(ctx context.Context, c *candidate, r compose.Retired, mounts []compose.Mount) (bool, error) {
	if !r.Ran && !slices.Contains(c.resolved.Services(), r.Service) {
		return false, nil
	}
	declared := map[string][]string{}
	for _, m := range mounts {
		if m.Container != r.ID {
			continue
		}
		if inherits, err := d.tree.inherits(ctx, c, m, declared); err != nil || inherits {
			return false, err
		}
	}
	return true, nil
}

// dropNetworks removes the service's networks that the candidate does not have, or not like
// this. Nothing of the service runs. One that others are on stays.
func (d *deployer) dropNetworks(ctx context.Context, c *candidate) error {
	going, err := d.obstacles.going(ctx, c)
	if err != nil {
		return err
	}
	return d.engine.Unmake(ctx, nil, nil, namesOf(going))
}

// tidy removes the containers of compose services that the candidate does not have. Until it
// has passed the gate they are kept: pgo may go back to them. What cannot be removed does not
// run, and is not a reason to touch what is healthy.
func (d *deployer) tidy(ctx context.Context, c *candidate, o order) {
	if !d.store.snapshot().Retired {
		if err := d.dropUnused(ctx, c); err != nil {
			d.log.Warn("cannot remove the networks of an earlier deploy; the next one does", "error", err)
		}
		return
	}
	there, err := d.engine.Containers(ctx, d.cfg.Name)
	others := strays(c.resolved, there)
	for _, container := range others {
		if err == nil {
			err = d.engine.End(ctx, container.ID)
		}
	}
	if err == nil {
		err = d.starter.tellOfVolumes(ctx, c.unnamed, o.out)
	}
	// If not all could be created, some still wait to be replaced.
	waiting := slices.ContainsFunc(there, func(container compose.Container) bool {
		return slices.Contains(c.retired, container.ID) && !slices.ContainsFunc(others, func(other compose.Container) bool { return other.ID == container.ID })
	})
	if err == nil && !waiting {
		err = d.store.update(func(st *State) { st.Retired = false })
	}
	if err != nil {
		d.log.Warn("cannot remove the containers of an earlier deploy; the next one does", "error", err)
	}
}

// dropUnused removes the service's networks that the candidate does not have.
func (d *deployer) dropUnused(ctx context.Context, c *candidate) error {
	networks, err := d.engine.OwnNetworks(ctx, d.cfg.Name)
	if err != nil {
		return err
	}
	outside := c.resolved.Outside("networks")
	return d.engine.Unmake(ctx, nil, nil, namesOf(slices.DeleteFunc(networks, func(n compose.Network) bool {
		return slices.Contains(outside, n.Name) || compose.MakesNetwork(c.resolved, n.Name)
	})))
}

// lookAtVolumes finds out what is not as the deployed model says, for the status.
func (d *deployer) lookAtVolumes(ctx context.Context) {
	ctx, cancel := deadline(ctx, d.cfg.Timeout)
	defer cancel()
	var stays []string
	if model, err := d.files.loadDeployed(); err == nil && d.store.snapshot().Deployed.good() {
		if stays, err = d.files.stays(ctx, d.engine, model); err != nil {
			return // the engine is away, which others tell
		}
	}
	for i, text := range stays {
		stays[i] = printable.Line(d.files.project.Redact(text))
	}
	if !slices.Equal(stays, d.advice.stays) {
		d.advice.stays = stays
		d.advice.judge()
	}
}
