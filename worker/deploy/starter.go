package deploy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/policy"
	"pgo/internal/printable"
	"pgo/worker/compose"
)

// starter creates containers, and nothing else does.
type starter struct {
	name   string
	engine *compose.Engine
	store  *store
	board  *board
	around *neighbourhood
	files  *workspace
	redact func(string) string
	log    hclog.Logger
}

// start creates and starts the given compose services as they are in the checkout, nil
// meaning all, with the images that they should have. Everything is created first, and what
// the engine reports about it is compared with what was checked, before any of it runs.
func (s *starter) start(ctx context.Context, out compose.Output, c *candidate, services []string, flags ...string) error {
	told := &toldOnce{}
	if err := s.create(ctx, told.first(out), c, services, flags...); err != nil {
		return err
	}
	return s.startCreated(ctx, told.second(out), c, services)
}

// create creates the containers and checks them against the policy; none of them runs yet.
func (s *starter) create(ctx context.Context, out compose.Output, c *candidate, services []string, flags ...string) error {
	if c.anew {
		services = nil // also those that are not started now: they keep their volumes
	}
	if !c.anew {
		flags = append(flags, "--remove-orphans") // otherwise that has to wait, see tidy
	}
	if c.anew || c.forced && len(c.record.Ways) == 0 || s.store.snapshot().Retired {
		flags = append(flags, "--force-recreate")
	}
	return s.make(ctx, out, c, services, append([]string{"--no-start"}, flags...)...)
}

// make has compose create containers as the flags say, between the two checks of the policy, and
// remembers what was made. Without flags it only checks what is made already.
func (s *starter) make(ctx context.Context, out compose.Output, c *candidate, services []string, flags ...string) error {
	if nothing(services) {
		return nil
	}
	if err := s.makeUnnoted(ctx, out, c, services, flags...); err != nil {
		return err
	}
	return s.rememberMade(ctx, c, services)
}

// makeMore is make for containers next to those that are there: what was made remains what is
// remembered.
func (s *starter) makeMore(ctx context.Context, out compose.Output, c *candidate, service string, flags ...string) error {
	return s.makeUnnoted(ctx, out, c, []string{service}, flags...)
}

func (s *starter) makeUnnoted(ctx context.Context, out compose.Output, c *candidate, services []string, flags ...string) error {
	before, err := s.checkSources(ctx, c)
	if err != nil {
		return err
	}
	model, err := s.startable(ctx, c, before)
	if err != nil {
		return err
	}
	s.board.enter(StepCreate, c.commit)
	// Compose starts what is in its way, and fails at what is paused.
	if err := s.engine.Unpause(ctx, s.name, services); err != nil {
		return err
	}
	if len(flags) > 0 {
		if err := s.up(ctx, out, services, flags...); err != nil {
			return err
		}
	}
	s.board.enter(StepMade, c.commit)
	return s.checkMade(ctx, out, c, model, services, before)
}

// startCreated starts what create made.
func (s *starter) startCreated(ctx context.Context, out compose.Output, c *candidate, services []string) error {
	return s.startOnly(ctx, out, c, services, "")
}

// startOnly is startCreated for one container, whose ID is only, of one compose service that has no other
// to be started; empty: for all. The flags are for compose.
func (s *starter) startOnly(ctx context.Context, out compose.Output, c *candidate, services []string, only string, flags ...string) error {
	if nothing(services) {
		return nil
	}
	s.board.enter(StepUp, c.commit)
	if compose.StartsPlainly(c.resolved, services) {
		return s.files.project.Start(ctx, s.engine, c.resolved, services, only, out)
	}
	return s.up(ctx, out, services, append([]string{"--detach", "--no-recreate"}, flags...)...)
}

func (s *starter) up(ctx context.Context, out compose.Output, services []string, flags ...string) error {
	args := append([]string{"up", "--no-build", "--pull", "never"}, flags...)
	if services != nil {
		args = slices.Concat(args, []string{"--no-deps", "--"}, services)
	}
	return s.files.inCheckout(ctx, s.files.path(startModel), out, args...)
}

// nothing reports whether services names no compose service at all; nil means all of them.
func nothing(services []string) bool { return services != nil && len(services) == 0 }

// startable saves the model that compose starts, and returns it. volumes has those that exist.
func (s *starter) startable(ctx context.Context, c *candidate, volumes map[string]compose.Volume) (*compose.Model, error) {
	model, err := s.named(ctx, c, volumes)
	if err != nil {
		return nil, err
	}
	return model, s.files.save(startModel, model.Encode())
}

// named returns the candidate's model with the images that it should have, and with the volumes that
// exist.
func (s *starter) named(ctx context.Context, c *candidate, volumes map[string]compose.Volume) (*compose.Model, error) {
	model := c.resolved.Clone()
	now, err := s.engine.Images().IDs(ctx, model.Images(s.name))
	if err != nil {
		return nil, err
	}
	moved := map[string]string{}
	for service, id := range c.record.Images {
		if id != "" && now[service] != id {
			moved[service] = id // its name refers to another image by now, or to none
		}
	}
	model.RunImages(moved)
	model.TakeVolumes(volumes)
	for _, service := range model.Services() {
		model.Label(service, compose.InputsLabel, s.files.inputs(model, service, c.record))
	}
	return model, nil
}

// checkSources checks the model against the policy once more, with the files that the
// containers will mount: symlinks among them may have changed since. It returns the volumes
// that exist.
func (s *starter) checkSources(ctx context.Context, c *candidate) (map[string]compose.Volume, error) {
	s.board.enter(StepSources, c.commit)
	volumes, err := s.engine.Volumes(ctx, c.resolved.VolumeNames())
	if err != nil {
		return nil, err
	}
	return volumes, refuse(s.redact, c, s.refusalsNow(c.resolved, volumes))
}

// refusalsNow returns the policy's refusals of a model in the checkout with these volumes.
func (s *starter) refusalsNow(model *compose.Model, volumes map[string]compose.Volume) []policy.Refusal {
	return policy.CheckSources(s.around.limits(), model.WithVolumes(volumes).WithoutBuild().Document(), policy.Disk{})
}

// checkMade compares what the engine has created of the given compose services, nil meaning
// all, with the model, checks it against the policy, and removes what does not agree.
// before has the volumes that existed already. A commit that gets this far with something
// other than what was checked is an attack, a setting of the engine that is not known here,
// or a fault of this check.
func (s *starter) checkMade(ctx context.Context, out compose.Output, c *candidate, model *compose.Model, services []string, before map[string]compose.Volume) error {
	made, err := s.madeOf(ctx, model, services)
	if err != nil {
		return err
	}
	volumes, err := s.engine.Volumes(ctx, c.resolved.VolumeNames())
	if err != nil {
		return err
	}
	judge := func() []policy.Refusal {
		return policy.CheckMade(s.around.limits(), model.Document(), made, c.record.Images)
	}
	refusals := judge()
	if len(refusals) > 0 {
		// The engine may have other defaults by now.
		if made.Runtime, made.Cgroupns, made.LogDriver, err = s.engine.Defaults(ctx, true); err != nil {
			return err
		}
		refusals = judge()
	}
	refusals = append(refusals, s.refusalsNow(c.resolved, volumes)...)
	if len(refusals) == 0 {
		return nil
	}
	for _, r := range refusals {
		s.log.Error("attack: what the engine created differs from what was checked; it is removed and not started",
			"commit", c.commit.Short(), "refusal", s.redact(r.String()))
	}
	s.unmake(ctx, out, made, made.Strange(s.around.limits(), model.Document()), newVolumes(c.resolved, volumes, before, s.name))
	return &madeError{c.commit.Short(), refuse(s.redact, c, refusals)}
}

// madeOf returns what the engine has created of the given compose services. Containers of
// others that never ran are omitted: they are not started now, and may be of an earlier
// model.
func (s *starter) madeOf(ctx context.Context, model *compose.Model, services []string) (policy.Made, error) {
	made, err := s.engine.Made(ctx, s.name)
	if services == nil || err != nil {
		return made, err
	}
	known := model.Services()
	made.Containers = slices.DeleteFunc(made.Containers, func(words map[string]any) bool {
		id, _ := words["Id"].(string)
		name := made.Services[id]
		return slices.Contains(known, name) && !slices.Contains(services, name)
	})
	return made, nil
}

// newVolumes returns the service's own volumes that did not exist before.
func newVolumes(model *compose.Model, now, before map[string]compose.Volume, project string) []string {
	outside := model.Outside("volumes")
	var names []string
	for name, v := range now {
		if _, old := before[name]; !old && v.Project == project && !slices.Contains(outside, name) {
			names = append(names, name)
		}
	}
	return names
}

// unmakeTime bounds the removal of what must not be started.
const unmakeTime = time.Minute

// unmake removes what must not be started, even if whoever asked has left. Compose has handed the
// volumes without a name on to what is removed, so it says where they are.
func (s *starter) unmake(ctx context.Context, out compose.Output, made policy.Made, networks, volumes []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unmakeTime)
	defer cancel()
	var containers []string
	for _, words := range made.Containers {
		id, _ := words["Id"].(string)
		containers = append(containers, id)
	}
	mounts, cannot := s.engine.Mounts(ctx, s.name)
	if err := s.engine.Unmake(ctx, containers, volumes, networks); err != nil {
		s.log.Error("cannot remove what must not be started", "error", err)
	}
	if cannot == nil {
		cannot = s.tellOfVolumes(ctx, unnamed(mounts), out)
	}
	if cannot != nil {
		s.log.Warn("cannot find out which volumes without a name no container has any more", "error", cannot)
	}
}

// unnamed returns the volumes without a name.
func unnamed(mounts []compose.Mount) []compose.Mount {
	return slices.DeleteFunc(mounts, func(m compose.Mount) bool { return !policy.Anonymous(m.Volume) })
}

// tellOfVolumes says which of these volumes without a name no container has any more. They are
// somebody's data, so pgo leaves them alone, and nothing else knows whose they were.
func (s *starter) tellOfVolumes(ctx context.Context, unnamed []compose.Mount, out compose.Output) error {
	if len(unnamed) == 0 {
		return nil
	}
	now, err := s.engine.Mounts(ctx, s.name)
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for _, m := range now {
		told[m.Volume] = true
	}
	for _, m := range unnamed {
		if told[m.Volume] {
			continue
		}
		told[m.Volume] = true
		where := fmt.Sprintf("%s at %s", m.Name, brief(m.Target))
		say(out, "no container has the volume of %s any more; it is kept: docker volume rm %s", where, m.Volume)
		s.log.Warn("no container has a volume without a name any more; it is kept", "volume", m.Volume, "was", printable.Line(where))
	}
	return nil
}

// madeError is the error of a deploy for which the engine created something other than what
// was checked.
type madeError struct {
	commit string // short
	error
}

func (e *madeError) Error() string {
	return "what the engine created for " + e.commit + " differs from what was checked, and none of it was started; have an operator look at it: " + e.error.Error()
}

func (e *madeError) Unwrap() error { return e.error }

// deployed returns what is deployed, to be started again.
func (s *starter) deployed(model *compose.Model) *candidate {
	deployed := s.store.snapshot().Deployed
	return &candidate{commit: deployed.Commit, record: deployed, resolved: model}
}

// mayRestart returns an error unless containers may be started again: what they mount may
// lead elsewhere by now, and one that a worker created and did not check before it ended
// would run for the first time.
func (s *starter) mayRestart(ctx context.Context, model *compose.Model, services []string) error {
	c := s.deployed(model)
	before, err := s.checkSources(ctx, c)
	if err != nil {
		return err
	}
	if len(services) == 0 {
		services = nil
	}
	start, err := s.startable(ctx, c, before)
	if err != nil {
		return err
	}
	return s.checkMade(ctx, compose.Output{}, c, start, services, before)
}
