package deploy

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/policy"
	"pgo/internal/printable"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// The engine starts a container again by its restart policy, or with the host, and then
// resolves the paths that it mounts anew. Therefore the checkout never moves under a
// container whose paths would lead elsewhere, whatever the reason for the move.

// checkout is the files that containers mount, and the commit that they are from.
type checkout struct {
	name   string
	repo   *gitrepo.Repo
	engine *compose.Engine
	store  *store
	around *neighbourhood
	files  *workspace
	log    hclog.Logger
}

// move brings the checkout to the commit. First it ends the containers whose mounts would
// lead elsewhere, except the retired ones, which nothing starts again, and records that files
// of both commits may be there.
func (t *checkout) move(ctx context.Context, to gitrepo.Hash, retired ...string) error {
	led, err := t.existingMovedMounts(ctx, to)
	if err != nil {
		return &stepError{"bring the checkout to", to.Short(), err}
	}
	for _, m := range firstOfEach(led) {
		if slices.Contains(retired, m.Container) {
			continue
		}
		t.log.Warn("removing a container before the checkout moves: its mount would lead elsewhere",
			"container", m.Name, "mount", printable.Line(m.Target), "commit", to.Short())
		if err := t.engine.End(ctx, m.Container); err != nil {
			return &stepError{"bring the checkout to", to.Short(), err}
		}
	}
	from := t.store.snapshot().Checkout
	if len(from) > 0 && !slices.Contains(from, to) {
		from = append(slices.Clone(from), to)
		if err := t.store.update(func(st *State) { st.Checkout = from }); err != nil {
			return err
		}
	}
	if err := t.repo.Switch(ctx, from, to, t.files.checkout()); err != nil {
		return &stepError{"bring the checkout to", to.Short(), err}
	}
	return t.store.update(func(st *State) { st.Checkout = []gitrepo.Hash{to} })
}

// tracked reports whether a commit may have brought a path to the checkout. In doubt, one has.
func (t *checkout) tracked(name string) bool {
	for _, commit := range t.store.snapshot().Checkout {
		entries, err := t.repo.Entries(commit, []string{name})
		if err != nil || entries[name] != "" {
			return true
		}
	}
	return false
}

// keep makes git keep the commits that may still be needed: those in the checkout, those of
// the kept good deploys, the pinned one, that of an unfinished switch, and more.
func (t *checkout) keep(more ...gitrepo.Hash) error {
	state := t.store.snapshot()
	commits := slices.Concat(state.Checkout, more)
	if state.Pin != nil {
		commits = append(commits, state.Pin.Commit)
	}
	if state.Switching != nil {
		commits = append(commits, state.Switching.Commit)
	}
	for _, good := range t.store.history.kept() {
		commits = append(commits, good.Commit, good.tree())
	}
	return t.repo.Keep(commits...)
}

// firstOfEach returns one mount of each container.
func firstOfEach(mounts []compose.Mount) []compose.Mount {
	var firsts []compose.Mount
	for _, m := range mounts {
		if !slices.ContainsFunc(firsts, func(f compose.Mount) bool { return f.Container == m.Container }) {
			firsts = append(firsts, m)
		}
	}
	return firsts
}

// forecast returns what will be in the checkout once it is at the commit. The caller closes
// it.
func (t *checkout) forecast(to gitrepo.Hash) (*gitrepo.Forecast, error) {
	return t.repo.Forecast(t.store.snapshot().Checkout, to, t.files.checkout(), policy.Disk{})
}

// existingMovedMounts returns the mounts of existing containers that would lead elsewhere,
// to something of another kind or to nothing, once the checkout is at the commit.
func (t *checkout) existingMovedMounts(ctx context.Context, to gitrepo.Hash) ([]compose.Mount, error) {
	mounts, err := t.engine.Mounts(ctx, t.name)
	if err != nil || len(mounts) == 0 {
		return nil, err
	}
	return t.movedMounts(mounts, to)
}

func (t *checkout) movedMounts(mounts []compose.Mount, to gitrepo.Hash) ([]compose.Mount, error) {
	then, err := t.forecast(to)
	if err != nil {
		return nil, err
	}
	defer then.Close()
	var paths []string
	for _, m := range mounts {
		if m.Source != "" {
			paths = append(paths, m.Source)
		}
	}
	moved := policy.Moved(paths, policy.Disk{}, then)
	return slices.DeleteFunc(slices.Clone(mounts), func(m compose.Mount) bool { return !slices.Contains(moved, m.Source) }), nil
}

// notInPlace returns why the candidate cannot replace what runs in place, or "" if it can.
// If it cannot, everything that runs has to be gone first.
func (t *checkout) notInPlace(ctx context.Context, c *candidate) (why string, err error) {
	mounts, err := t.engine.Mounts(ctx, t.name)
	if err != nil || len(mounts) == 0 {
		return "", err
	}
	led, err := t.movedMounts(mounts, c.commit)
	if err != nil {
		return "", err
	}
	// Otherwise move removes only those containers.
	if len(led) > 0 && c.resolved.SharesContainers() {
		return led[0].Name + " mounts " + brief(t.inRepository(led[0].Source)) + ", which leads elsewhere in the new commit, and other containers share its namespaces or volumes", nil
	}
	if t.swappable(c, mounts) {
		return "running containers can write to what the new containers mount", nil
	}
	declared := map[string][]string{} // by image
	for _, m := range mounts {
		inherits, err := t.inherits(ctx, c, m, declared)
		if err != nil {
			return "", err
		}
		if inherits {
			return fmt.Sprintf("the new container of %s would inherit what %s mounts at %s", m.Service, m.Name, brief(m.Target)), nil
		}
	}
	return "", nil
}

// inRepository returns a path in the checkout as the repository has it.
func (t *checkout) inRepository(path string) string {
	if rel, err := filepath.Rel(t.files.checkout(), path); err == nil && filepath.IsLocal(rel) {
		return "./" + rel
	}
	return path
}

// swappable reports whether running containers could make what the candidate mounts lead
// elsewhere while they are replaced in place: they would do so after the last check of it.
func (t *checkout) swappable(c *candidate, mounts []compose.Mount) bool {
	limits := t.around.limits()
	model := c.resolved.WithoutBuild().Document()
	alone := policy.CheckSources(limits, model, policy.Disk{})
	for _, m := range mounts {
		if m.Writable && m.Source != "" {
			limits.Writable = append(limits.Writable, m.Source)
		}
	}
	return len(policy.CheckSources(limits, model, policy.Disk{})) > len(alone)
}

// inherits reports whether compose would pass a mount of a container on to the one that
// replaces it, although the new model does not ask for it. If the new model or its image
// wants a volume without a name, compose takes whatever is there, including a bind mount of
// the old model. declared has what images want, as far as known.
func (t *checkout) inherits(ctx context.Context, c *candidate, m compose.Mount, declared map[string][]string) (bool, error) {
	kept, wanted := c.resolved.MountAt(m.Service, m.Target)
	if kept || policy.Anonymous(m.Volume) {
		return false, nil
	}
	if wanted {
		return true, nil
	}
	image := c.record.Images[m.Service]
	if image == "" {
		return false, nil // there is no such compose service any more
	}
	if _, known := declared[image]; !known {
		paths, err := t.engine.Images().DeclaredVolumes(ctx, image)
		if err != nil {
			return false, err
		}
		declared[image] = paths
	}
	return slices.Contains(declared[image], m.Target), nil
}
