package deploy

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/compose"
)

// images manages the images that the service's deploys run: it pulls, builds and keeps
// them, and removes them when nothing uses them any more.
type images struct {
	name   string
	engine *compose.Engine
	store  *store
	board  *board
	around *neighbourhood
	files  *workspace
	log    hclog.Logger
}

// pullAndBuild pulls and builds the images, from the stage. A context that differs is a
// change only if the image built from it differs.
func (i *images) pullAndBuild(ctx context.Context, c *candidate, o order) error {
	before, err := i.engine.Images().IDs(ctx, c.images)
	if err != nil {
		return err
	}
	if o.told {
		// What runs needs no tag, but what is to be started does.
		for _, service := range slices.Sorted(maps.Keys(before)) {
			if before[service] == "" {
				c.changes = append(c.changes, "the image of "+service+" is missing")
			}
		}
	}
	if len(c.changes) > 0 || o.told {
		if err := i.pullFor(ctx, c, o, before); err != nil {
			return err
		}
	}
	if c.differs() || o.build || o.told && i.builtElse(c, before) {
		if err := i.build(ctx, c, before, o.out); err != nil {
			return err
		}
	}
	return i.compareImages(ctx, c, o, before)
}

// builtElse reports whether the name of a built image refers to another image than the one
// that runs: the last build may have been of another commit.
func (i *images) builtElse(c *candidate, now map[string]string) bool {
	d := i.store.snapshot().Deployed
	return d != nil && slices.ContainsFunc(c.built, func(name string) bool { return now[name] != d.Images[name] })
}

// compareImages finds the images that differ from those that run. An image tag that was
// moved, by `pull` or by somebody else, is a change only when somebody runs up: a poll only
// considers what the commit brings.
func (i *images) compareImages(ctx context.Context, c *candidate, o order, before map[string]string) error {
	now, err := i.engine.Images().IDs(ctx, c.images)
	if err != nil {
		return err
	}
	deployed := i.store.snapshot().Deployed
	if deployed != nil {
		if err := i.stay(ctx, c, deployed.Images, now); err != nil {
			return err
		}
	}
	c.record.Images = now
	if err := i.bring(c, before, now); err != nil {
		return err
	}
	if deployed == nil {
		return nil
	}
	for _, service := range different(deployed.Images, now) {
		rebuilt := len(c.contexts) > 0 && slices.Contains(c.built, service)
		if o.told || rebuilt {
			c.changes = append(c.changes, "the image of "+service+" changed")
		}
	}
	return nil
}

// stay gives the names of images back to what runs, where what they refer to by now is the same
// here: with the store of containerd, an image's ID also stands for its other platforms. now has the
// IDs that the names refer to.
func (i *images) stay(ctx context.Context, c *candidate, runs, now map[string]string) error {
	for _, service := range different(runs, now) {
		name, earlier, newer := c.images[service], runs[service], now[service]
		if earlier == "" || newer == "" || strings.Contains(name, "@") || !compose.ForHost(c.resolved, service) {
			continue
		}
		same, err := i.engine.Images().AreSame(ctx, earlier, newer)
		if err != nil {
			return err
		}
		if !same {
			continue
		}
		if err := i.engine.Images().Tag(ctx, earlier, name); err != nil {
			return err
		}
		now[service] = earlier
		if err := i.engine.Images().RemoveLeft(ctx, newer, []string{name}); err != nil {
			i.log.Warn("cannot remove an image that is the same as what runs", "error", err)
		}
	}
	return nil
}

// bring remembers the names of images that came to this host for this service: only those
// may be removed one day, and none that somebody else put here.
func (i *images) bring(c *candidate, before, now map[string]string) error {
	state := i.store.snapshot()
	brought := slices.Clone(state.Brought)
	for service, id := range now {
		if id != before[service] && (before[service] == "" || slices.Contains(c.built, service)) {
			brought = add(brought, compose.FullName(c.images[service]))
		}
	}
	if len(brought) == len(state.Brought) {
		return nil
	}
	return i.store.update(func(st *State) { st.Brought = brought })
}

// came remembers the images that were not here before.
func (i *images) came(ctx context.Context, c *candidate, before map[string]string) error {
	now, err := i.engine.Images().IDs(ctx, c.images)
	if err != nil {
		return err
	}
	return i.bring(c, before, now)
}

// areHere returns an error if an image that an earlier deploy ran is gone.
func (i *images) areHere(ctx context.Context, r *Record) error {
	ids, err := i.engine.Images().IDs(ctx, r.Images)
	if err != nil {
		return err
	}
	for service, id := range ids {
		if id == "" {
			return gone(fmt.Errorf("the image that %s ran then is gone: somebody removed it", service))
		}
	}
	return nil
}

// pullFor pulls what the order asks for.
func (i *images) pullFor(ctx context.Context, c *candidate, o order, ids map[string]string) error {
	switch o.pull {
	case "never":
		return nil
	case "always":
		return i.pull(ctx, c, o.out, compose.Pullable(c.resolved, i.name))
	}
	return i.pull(ctx, c, o.out, c.resolved.Pulled(i.name, ids))
}

// pull pulls the images of compose services, whatever their pull_policy is.
func (i *images) pull(ctx context.Context, c *candidate, out compose.Output, services []string, flags ...string) error {
	if len(services) == 0 {
		return nil
	}
	i.board.enter(StepPull, c.commit)
	args := slices.Concat([]string{"pull", "--policy", "always"}, flags, []string{"--"}, services)
	if err := i.files.onStaged(ctx, out, args...); err != nil {
		return &stepError{"pull the images of", c.commit.Short(), err}
	}
	return nil
}

// build builds the images. before has the IDs that the names of all images referred to.
func (i *images) build(ctx context.Context, c *candidate, before map[string]string, out compose.Output, flags ...string) error {
	if len(c.built) == 0 {
		return nil
	}
	i.board.enter(StepBuild, c.commit)
	if err := i.mayBuild(ctx, c); err != nil {
		return &stepError{"build", c.commit.Short(), err}
	}
	if err := i.files.project.CanBuild(ctx, c.resolved); err != nil {
		return &stepError{"build", c.commit.Short(), err}
	}
	steps := &compose.Steps{}
	printed := out
	printed.Stdout = steps
	if out.Stdout != nil {
		printed.Stdout = io.MultiWriter(steps, out.Stdout)
	}
	err := i.files.onStaged(ctx, printed, append([]string{"build"}, flags...)...)
	if err == nil {
		err = i.keepSame(ctx, c, before)
	} else if compose.BuildFailed(err) && i.engine.Away(ctx) == nil {
		err = verdict{err}
	}
	if left := i.tidyBuilds(ctx, steps.IDs, err == nil && len(flags) == 0); left != nil {
		i.log.Warn("cannot remove what builds have left", "error", left)
	}
	if err != nil {
		return &stepError{"build", c.commit.Short(), err}
	}
	return nil
}

// keepSame gives the names of what was built back to the image that runs, or that had them before,
// if the new one is the same: builds from the same files may make images with different IDs. So
// what did not change is not started again, and does not count as a deploy.
func (i *images) keepSame(ctx context.Context, c *candidate, before map[string]string) error {
	var runs map[string]string
	if d := i.store.snapshot().Deployed; d != nil {
		runs = d.Images
	}
	for _, service := range c.built {
		if !compose.OnePlatform(c.resolved, service) {
			continue // the one that it runs on may be the one that differs
		}
		names := map[string]string{}
		for _, name := range c.resolved.BuiltNames(i.name, service) {
			names[name] = name
		}
		now, err := i.engine.Images().IDs(ctx, names)
		if err != nil {
			return err
		}
		built := now[c.images[service]]
		for _, earlier := range []string{runs[service], before[service]} {
			if earlier == "" || built == "" {
				continue
			}
			same, err := i.engine.Images().AreSame(ctx, earlier, built)
			if err != nil {
				return err
			}
			if !same {
				continue
			}
			for name, id := range now {
				if id == built && id != earlier {
					if err := i.engine.Images().Tag(ctx, earlier, name); err != nil {
						return err
					}
				}
			}
			break
		}
	}
	return nil
}

// tidyBuilds removes what builds have left: images that have lost their names, and those of the
// steps of earlier builds. Those of the last build of everything are the builder's cache: without
// them the next one would make other images.
func (i *images) tidyBuilds(ctx context.Context, steps []string, whole bool) error {
	state := i.store.snapshot()
	if next := state.Steps.after(steps, whole); !next.same(state.Steps) {
		if err := i.store.update(func(st *State) { st.Steps = next }); err != nil {
			return err
		}
	}
	if d := state.Deployed; d.good() && i.store.history.find(d.Number) == nil {
		return nil // its images have no other names yet
	}
	if err := i.engine.Images().RemoveNameless(ctx, i.name); err != nil {
		return err
	}
	return i.removeSteps(ctx)
}

// maxSteps bounds how many images of steps are remembered.
const maxSteps = 1000

// after returns the steps after a build: of everything, or one that failed or built only a part.
func (s BuildSteps) after(build []string, whole bool) BuildSteps {
	among := func(all []string) func(string) bool {
		return func(id string) bool { return slices.Contains(all, id) }
	}
	last, earlier := slices.DeleteFunc(slices.Clone(s.Last), among(build)), slices.Clone(s.Earlier)
	if whole {
		earlier, last = append(earlier, last...), nil
	}
	last = append(last, build...)
	earlier = slices.DeleteFunc(earlier, among(last))
	return BuildSteps{last[max(len(last)-maxSteps, 0):], earlier[max(len(earlier)-maxSteps, 0):]}
}

func (s BuildSteps) same(as BuildSteps) bool {
	return slices.Equal(s.Last, as.Last) && slices.Equal(s.Earlier, as.Earlier)
}

// removeSteps removes the images of steps that are no longer of use.
func (i *images) removeSteps(ctx context.Context) error {
	earlier := i.store.snapshot().Steps.Earlier
	if len(earlier) == 0 {
		return nil
	}
	stay, err := i.engine.Images().RemoveSteps(ctx, earlier)
	if err != nil || len(stay) == len(earlier) {
		return err
	}
	return i.store.update(func(st *State) { st.Steps.Earlier = stay })
}

// mayBuild refuses to overwrite an image that this service has not built: others may run
// it, whatever its name is.
func (i *images) mayBuild(ctx context.Context, c *candidate) error {
	allow := i.around.limits().Allow
	for _, service := range c.built {
		for _, name := range c.resolved.BuiltNames(i.name, service) {
			image, err := i.engine.Images().Image(ctx, name)
			if err != nil {
				return err
			}
			if image.ID != "" && !i.hasBuilt(name, image) && !slices.Contains(allow, "image:"+name) {
				return verdict{fmt.Errorf("the image %s exists on this host and was not built by %s: give the image of %s another name, or have an operator allow %q",
					name, i.name, service, "image:"+name)}
			}
		}
	}
	return nil
}

// hasBuilt reports whether this service has built an image.
func (i *images) hasBuilt(name string, image compose.Image) bool {
	if image.Service != "" {
		return image.Service == i.name
	}
	// An earlier pgo did not label what it built. Compose did, and so does anybody who builds with
	// compose: it counts only for what pgo has brought or pinned.
	if image.Project == i.name {
		brought := i.store.snapshot().Brought
		if slices.ContainsFunc(image.Names, func(name string) bool {
			return slices.Contains(brought, name) || strings.HasPrefix(name, i.pinnedRepository()+":")
		}) {
			return true
		}
	}
	// Compose 5 without buildx did not label it either.
	for _, g := range i.store.history.kept() {
		model, err := i.store.history.model(g.Number)
		if err != nil {
			continue
		}
		for _, service := range model.Built() {
			if g.Images[service] == image.ID && slices.Contains(model.BuiltNames(i.name, service), name) {
				return true
			}
		}
	}
	return false
}

// pinnedRepository returns the repository that keeps the images of a service's good deploys
// under names of pgo's own, which no build and no pull takes away.
func (i *images) pinnedRepository() string {
	return "pgo/" + i.name
}

// pin returns the name under which an image of a deploy is kept. It includes the image's
// ID: one commit may be built more than once.
func (i *images) pin(r *Record, service, id string) string {
	const most = 90 // of 128 that a tag may have
	_, digest, _ := strings.Cut(id, ":")
	return i.pinnedRepository() + ":" + r.Commit.Short() + "-" + service[:min(len(service), most)] + "-" + digest[:min(len(digest), 12)]
}

// keep keeps the images that the deploy runs.
func (i *images) keep(ctx context.Context, r *Record) error {
	for service, id := range r.Images {
		if id == "" {
			continue
		}
		if err := i.engine.Images().Tag(ctx, id, i.pin(r, service, id)); err != nil {
			return err
		}
	}
	return nil
}

// prune removes the images that no kept deploy uses. A failure to do so is not a reason to
// fail a deploy that works.
func (i *images) prune(ctx context.Context) {
	if err := i.pruneImages(ctx); err != nil {
		i.log.Warn("cannot remove old images", "error", err)
	}
}

func (i *images) pruneImages(ctx context.Context) error {
	wanted, used := map[string]bool{}, map[string]bool{}
	for _, g := range i.store.history.kept() {
		for service, id := range g.Images {
			if id != "" {
				wanted[i.pin(g, service, id)], used[id] = true, true
			}
		}
	}
	pins, err := i.engine.Images().NamesIn(ctx, i.pinnedRepository())
	if err != nil {
		return err
	}
	for _, pin := range pins {
		if !wanted[pin] {
			if err := i.unpin(ctx, pin); err != nil {
				return err
			}
		}
	}
	if err := i.engine.Images().RemoveNameless(ctx, i.name); err != nil {
		return err
	}
	if err := i.removeBrought(ctx, used); err != nil {
		return err
	}
	return i.removeSteps(ctx)
}

// unpin removes the name that has kept an image, and what is left of the image if its tag was moved
// since it was pulled.
func (i *images) unpin(ctx context.Context, pin string) error {
	image, err := i.engine.Images().Image(ctx, pin)
	if err != nil {
		return err
	}
	if err := i.engine.Images().Remove(ctx, pin); err != nil {
		return err
	}
	return i.engine.Images().RemoveLeft(ctx, image.ID, i.store.snapshot().Brought)
}

// removeBrought removes the names of images that this service brought here and no
// longer uses, unless another service keeps the image.
func (i *images) removeBrought(ctx context.Context, used map[string]bool) error {
	names := map[string]string{}
	for _, name := range i.store.snapshot().Brought {
		names[name] = name
	}
	ids, err := i.engine.Images().IDs(ctx, names)
	if err != nil {
		return err
	}
	var left []string
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		id := ids[name]
		if id == "" {
			continue
		}
		tags, err := i.engine.Images().Tags(ctx, id)
		if err != nil {
			return err
		}
		if used[id] || slices.ContainsFunc(tags, func(tag string) bool { return strings.HasPrefix(tag, "pgo/") }) {
			left = append(left, name)
		} else if err := i.engine.Images().Remove(ctx, name); err != nil {
			return err
		}
	}
	if len(left) == len(names) {
		return nil
	}
	return i.store.update(func(st *State) { st.Brought = left })
}
