package deploy

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/compose"
)

// Remove takes down the containers of a service that is not configured any more. What
// is wanted of it stays as it is, and so do its volumes: when its entry comes back, it
// does so as it was. No git server is needed, and nothing else may change the service
// meanwhile.
func Remove(ctx context.Context, cfg Config, log hclog.Logger) error {
	configured := cfg.Project.Host
	if d, damage := loadState(cfg.Dir); damage == nil && d.Deployed != nil && d.Switching == nil {
		cfg.Project.Host = d.Deployed.Engine // where its containers are
	}
	s := newService(cfg, log, func() {})
	if s.damage != nil {
		return s.damage
	}
	if err := s.makeDirs(); err != nil {
		return err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	err := s.takeDown(ctx, compose.Output{})
	if err == nil {
		err = s.allGone(ctx)
	}
	if err != nil {
		return elsewhere(err, s.engine.Host, configured)
	}
	return s.update(func(st *State) {
		if !st.Deployed.good() {
			st.Verdict = nil // what was not well, and ran, would not be started again
		}
	})
}

// elsewhere tells what to do where the containers are not on the engine that was
// configured last: what it takes to use theirs, this worker may not have.
func elsewhere(err error, theirs, configured string) error {
	hint := "with docker_host = " + theirs
	switch theirs {
	case configured:
		return err
	case "":
		hint = "without docker_host"
	}
	return fmt.Errorf("%w; it was deployed on another engine than the one that was configured last: configure it %s once more, and take it out when its worker is ready", err, hint)
}

// allGone returns an error if there are containers left: the engine may have made one
// for a deploy that was broken off after compose had looked for them.
func (s *Service) allGone(ctx context.Context) error {
	left, err := s.engine.Containers(ctx, s.cfg.Name)
	if err != nil || len(left) == 0 {
		return err
	}
	var names []string
	for _, c := range left {
		names = append(names, c.Name)
	}
	return fmt.Errorf("cannot take down %s: there still is %s", s.cfg.Name, strings.Join(names, ", "))
}
