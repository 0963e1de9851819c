package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// Remove takes down the containers of a service that is no longer configured. The wanted
// state and the volumes stay: if its entry comes back, the service comes back as it was.
// Remove does not need a git server. It takes its turn in the queue.
func Remove(ctx context.Context, cfg Config, queue *Queue, log hclog.Logger) error {
	configured := cfg.Project.Host
	store, err := openStore(cfg.Dir, func() {})
	if err != nil {
		log.Warn("the history is incomplete", "error", err)
	}
	state := store.snapshot()
	if state.Deployed != nil && state.Switching == nil {
		cfg.Project.Host = state.Deployed.Engine // where its containers are
	}
	d := newDeployer(cfg, newWorkspace(cfg), store, newBoard(state, gitrepo.Hash{}, nil, func() {}), nil, log)
	return queue.do(ctx, d, "the removal", func(string) {}, func(t *Turn) error { return t.remove(ctx, configured) })
}

// remove takes the service down, on the engine where it is.
func (d *deployer) remove(ctx context.Context, configured string) error {
	if err := d.store.usable(); err != nil {
		return err
	}
	if err := d.files.makeDirs(); err != nil {
		return err
	}
	ctx, cancel := deadline(ctx, d.cfg.Timeout)
	defer cancel()
	if err := d.obstacles.vicinity.RemoveProbes(ctx); err != nil {
		d.log.Warn("cannot remove the networks that an earlier worker has tried", "error", err)
	}
	if err := d.strangers(ctx, nil); errors.As(err, new(*strangerError)) {
		d.log.Warn("nothing was ever deployed: the containers of somebody else are left alone", "reason", err)
		return nil
	} else if err != nil {
		return &stepError{"take down", d.cfg.Name, err}
	}
	err := d.takeDown(ctx, compose.Output{})
	if err == nil {
		err = d.allGone(ctx)
	}
	if err != nil {
		return elsewhere(err, d.engine.Host, configured)
	}
	return d.store.update(func(st *State) {
		if !st.Deployed.good() {
			st.Verdict = nil // otherwise what ran and was not well would not be started again
		}
	})
}

func (d *deployer) takeDown(ctx context.Context, out compose.Output, flags ...string) error {
	if err := d.files.onDeployed(ctx, out, append([]string{"down", "--remove-orphans"}, flags...)...); err != nil {
		return &stepError{"take down", d.cfg.Name, err}
	}
	err := d.store.update(func(st *State) {
		st.Containers, st.Retired = Containers{}, false
		if st.Switching != nil {
			// Nothing runs now, and what was half done is not deployed.
			st.Switching, st.Deployed = nil, nil
		}
	})
	d.isDown = d.isDown || err == nil
	return err
}

// elsewhere adds what to do if the containers are not on the engine that was configured
// last: this worker may not have what it takes to use theirs.
func elsewhere(err error, theirs, configured string) error {
	hint := "with docker_host = " + theirs
	switch theirs {
	case configured:
		return err
	case "":
		hint = "without docker_host"
	}
	return fmt.Errorf("%w; it was deployed on a different engine than the one configured last: configure it %s once more, and remove it when its worker is ready", err, hint)
}

// allGone returns an error if there are containers left: for a deploy that was interrupted,
// the engine may have created one after compose had looked for them.
func (d *deployer) allGone(ctx context.Context) error {
	left, err := d.engine.Containers(ctx, d.cfg.Name)
	if err != nil || len(left) == 0 {
		return err
	}
	var names []string
	for _, c := range left {
		names = append(names, c.Name)
	}
	return fmt.Errorf("cannot take down %s: these containers are left: %s", d.cfg.Name, strings.Join(names, ", "))
}
