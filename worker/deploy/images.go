package deploy

import (
	"context"
	"errors"
	"maps"
	"slices"

	"pgo/worker/compose"
)

// pullAndBuild gets the images, from the stage. A context that is different is
// a change only if the image built from it is.
func (s *Service) pullAndBuild(ctx context.Context, c *candidate, o order) error {
	if o.told {
		// What runs needs no tag, and what is to be started does.
		ids, err := s.engine.ImageIDs(ctx, c.images)
		if err != nil {
			return err
		}
		for _, service := range slices.Sorted(maps.Keys(ids)) {
			if ids[service] == "" {
				c.changes = append(c.changes, "the image of "+service+" is missing")
			}
		}
	}
	if len(c.changes) > 0 || o.pull == "always" {
		if err := s.pullFor(ctx, c, o); err != nil {
			return err
		}
	}
	if c.differs() || o.build {
		if err := s.build(ctx, c, o.out); err != nil {
			return err
		}
	}
	return s.compareImages(ctx, c, o)
}

// compareImages finds the images that are others than those that run. That the
// tag of an image was moved, by `pull` or by somebody else, is a change only
// when somebody says up: a poll asks what the commit brings.
func (s *Service) compareImages(ctx context.Context, c *candidate, o order) error {
	var err error
	if c.record.Images, err = s.engine.ImageIDs(ctx, c.images); err != nil {
		return err
	}
	deployed := s.snapshot().Deployed
	if deployed == nil {
		return nil
	}
	for _, service := range different(deployed.Images, c.record.Images) {
		rebuilt := len(c.contexts) > 0 && slices.Contains(c.built, service)
		if o.told || rebuilt {
			c.changes = append(c.changes, "the image of "+service+" changed")
		}
	}
	return nil
}

// pullFor pulls as much as the order wants.
func (s *Service) pullFor(ctx context.Context, c *candidate, o order) error {
	switch o.pull {
	case "never":
		return nil
	case "always":
		return s.pull(ctx, c, o.out)
	}
	ids, err := s.engine.ImageIDs(ctx, c.images)
	if err != nil {
		return err
	}
	services := c.resolved.Pulled(ids)
	if len(services) == 0 {
		return nil
	}
	return s.pull(ctx, c, o.out, services...)
}

func (s *Service) pull(ctx context.Context, c *candidate, out compose.Output, flags ...string) error {
	s.setActivity("pull " + short(c.commit))
	args := append([]string{"pull", "--ignore-buildable"}, flags...)
	if err := s.onStaged(ctx, out, args...); err != nil {
		return &stepError{"pull the images of", short(c.commit), err}
	}
	return nil
}

func (s *Service) build(ctx context.Context, c *candidate, out compose.Output, flags ...string) error {
	if len(c.built) == 0 {
		return nil
	}
	s.setActivity("build " + short(c.commit))
	if err := s.onStaged(ctx, out, append([]string{"build"}, flags...)...); err != nil {
		// Compose ends with a status also when the engine is away.
		if _, away := s.engine.ImageIDs(ctx, c.images); away == nil && errors.As(err, new(*compose.ExitError)) {
			err = verdict{err}
		}
		return &stepError{"build", short(c.commit), err}
	}
	return nil
}
