package deploy

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"pgo/worker/compose"
	"pgo/worker/policy"
)

// start starts these compose services of what is in the checkout, all for nil and
// no others, with the images that they are to have.
//
// It is the only way to a container: everything is made first, and what the engine
// says of it is held against what was checked, before anything of it runs.
func (s *Service) start(ctx context.Context, out compose.Output, c *candidate, services []string, flags ...string) error {
	if services != nil && len(services) == 0 {
		return nil
	}
	before, err := s.checkSources(ctx, c)
	if err != nil {
		return err
	}
	model, err := s.startable(ctx, c)
	if err != nil {
		return err
	}
	up := []string{"up", "--no-build", "--pull", "never"}
	var only []string
	if services != nil {
		only = append([]string{"--no-deps", "--"}, services...)
	}
	s.enter(StepCreate, c.commit)
	create := slices.Concat(up, []string{"--no-start", "--remove-orphans"}, flags, only)
	if err := s.inCheckout(ctx, s.startModel(), out, create...); err != nil {
		return err
	}
	s.enter(StepMade, c.commit)
	if err := s.checkMade(ctx, c, model, before); err != nil {
		return err
	}
	s.enter(StepUp, c.commit)
	return s.inCheckout(ctx, s.startModel(), out, slices.Concat(up, []string{"--detach", "--no-recreate"}, only)...)
}

// startable saves the model that compose starts, and returns it.
func (s *Service) startable(ctx context.Context, c *candidate) (*compose.Model, error) {
	model := c.resolved.Clone()
	now, err := s.engine.ImageIDs(ctx, model.Images(s.cfg.Name))
	if err != nil {
		return nil, err
	}
	moved := map[string]string{}
	for service, id := range c.record.Images {
		if id != "" && now[service] != id {
			moved[service] = id // its name means another image by now, or none
		}
	}
	model.RunImages(moved)
	for _, service := range model.Services() {
		model.Label(service, compose.InputsLabel, s.inputs(model, service, c.record))
	}
	if err := replaceFile(s.cfg.Dir, filepath.Base(s.startModel()), model.Encode()); err != nil {
		return nil, fmt.Errorf("cannot save the model: %w", err)
	}
	return model, nil
}

// checkSources holds the model against the policy once more, with the files
// that the containers will mount: symlinks in there may have changed since. It
// returns the volumes that there are.
func (s *Service) checkSources(ctx context.Context, c *candidate) (map[string]compose.Volume, error) {
	s.enter(StepSources, c.commit)
	volumes, err := s.engine.Volumes(ctx, c.resolved.VolumeNames())
	if err != nil {
		return nil, err
	}
	return volumes, s.refused(c, s.refusalsNow(c.resolved, volumes))
}

// refusalsNow is what the policy says of a model in the checkout with these volumes.
func (s *Service) refusalsNow(model *compose.Model, volumes map[string]compose.Volume) []policy.Refusal {
	return policy.CheckSources(s.limits(), model.WithVolumes(volumes).WithoutBuild().Document(), policy.Disk{})
}

// checkMade holds what the engine has made of a model against it and against the
// policy. What does not agree is removed, with the volumes that were made for it:
// before has those that there were already. A commit that gets this far with
// something else than was checked is an attack, or a fault of this check.
func (s *Service) checkMade(ctx context.Context, c *candidate, model *compose.Model, before map[string]compose.Volume) error {
	made, err := s.engine.Made(ctx, s.cfg.Name)
	if err != nil {
		return err
	}
	volumes, err := s.engine.Volumes(ctx, model.VolumeNames())
	if err != nil {
		return err
	}
	refusals := policy.CheckMade(s.limits(), model.Document(), policy.Made(made), c.record.Images)
	refusals = append(refusals, s.refusalsNow(model, volumes)...)
	if len(refusals) == 0 {
		return nil
	}
	var containers, own []string
	for _, words := range made.Containers {
		id, _ := words["Id"].(string)
		containers = append(containers, id)
	}
	for name := range volumes {
		if _, old := before[name]; !old {
			own = append(own, name)
		}
	}
	for _, r := range refusals {
		s.log.Error("attack: the engine made something else than was checked; it is removed and not started",
			"commit", short(c.commit), "refusal", s.project.Redact(r.String()))
	}
	networks := strangeNetworks(refusals)
	if err := s.engine.Unmake(context.WithoutCancel(ctx), containers, own, networks); err != nil {
		s.log.Error("cannot remove what must not be started", "error", err)
	}
	err = s.refused(c, refusals)
	return &madeError{short(c.commit), err}
}

// strangeNetworks are the networks that refusals are about.
func strangeNetworks(refusals []policy.Refusal) []string {
	var names []string
	for _, r := range refusals {
		if rest, found := strings.CutPrefix(r.Path, "network "); found {
			name, _, _ := strings.Cut(rest, ":")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// madeError is a deploy of which the engine made something else than was checked.
type madeError struct {
	commit string // short
	error
}

func (e *madeError) Error() string {
	return "the engine made something else of " + e.commit + " than was checked, and nothing of it was started: " + e.error.Error()
}

func (e *madeError) Unwrap() error { return e.error }

// deployedCandidate is what is deployed, to be started again.
func (s *Service) deployedCandidate(model *compose.Model) *candidate {
	deployed := s.snapshot().Deployed
	return &candidate{commit: hashes([]string{deployed.Commit})[0], record: deployed, resolved: model}
}
