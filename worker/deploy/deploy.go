package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// order is why and how a deploy is asked for.
type order struct {
	trigger string // "poll", "up by miek"
	told    bool   // somebody said up: an image that moved by itself counts
	force   bool   // switch, even when nothing is different
	build   bool   // build, even when no context is different
	pull    string // pull policy: always, missing, never
	out     compose.Output
}

// candidate is a commit on its way to be deployed.
type candidate struct {
	commit   gitrepo.Hash
	record   Record // as it will be, less the time and the images
	resolved *compose.Model
	model    []byte            // resolved as a compose file, its paths in the checkout
	images   map[string]string // each compose service's image
	built    []string          // the compose services whose image is built

	changes  []string // what is different from what is deployed; empty: nothing
	contexts []string // build contexts that are different: they count if the image is
}

// differs tells whether there may be something to deploy.
func (c *candidate) differs() bool { return len(c.changes)+len(c.contexts) > 0 }

// reason is what is different, in one line.
func (c *candidate) reason() string {
	all := slices.Clone(c.changes)
	for _, path := range c.contexts {
		all = append(all, path+" changed")
	}
	if len(all) == 1 {
		return all[0]
	}
	return fmt.Sprintf("%s and %d more", all[0], len(all)-1)
}

// short is a commit as people write it.
func short(commit gitrepo.Hash) string { return commit.String()[:7] }

// deploy is the path from a fetched commit to running containers. Until the
// switch nothing that runs and no file that a container can see has changed.
//
// It returns whether what runs was replaced.
func (s *Service) deploy(ctx context.Context, commit gitrepo.Hash, o order) (switched bool, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()

	c, err := s.stageAndResolve(ctx, commit)
	if err != nil {
		return false, err
	}
	if err := s.compare(c); err != nil {
		return false, err
	}
	if o.force {
		c.changes = append(c.changes, "forced")
	}
	if c.differs() {
		say(o.out, "deploying %s: %s", short(commit), c.reason())
	}
	if err := s.pullAndBuild(ctx, c, o); err != nil {
		return false, err
	}
	if len(c.changes) == 0 {
		return false, s.note(ctx, c)
	}
	c.record.Reason = o.trigger + ": " + c.reason()
	s.log.Info("deploying", "commit", short(commit), "reason", c.record.Reason)
	if err := s.switchTo(ctx, c, o); err != nil {
		return false, err
	}
	if err := s.finish(c); err != nil {
		return false, err
	}
	s.log.Info("deployed", "commit", short(commit))
	return true, nil
}

// deadline bounds a change.
func (s *Service) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.cfg.Timeout,
		fmt.Errorf("%w: the service's timeout of %s is over", context.DeadlineExceeded, s.cfg.Timeout))
}

// stageAndResolve lays out the commit's tree beside the checkout and has
// compose read it there.
func (s *Service) stageAndResolve(ctx context.Context, commit gitrepo.Hash) (*candidate, error) {
	if err := s.checkVersions(ctx); err != nil {
		return nil, err
	}
	s.setActivity("stage " + short(commit))
	if err := s.repo.Stage(ctx, commit, s.stage()); err != nil {
		if errors.Is(err, gitrepo.ErrBadCommit) {
			err = verdict{err}
		}
		return nil, &stepError{"stage", short(commit), err}
	}
	s.setActivity("resolve " + short(commit))
	model, err := s.project.Resolve(ctx, s.stage(), s.cfg.Compose)
	if err != nil {
		if errors.Is(err, compose.ErrNoFile) || errors.Is(err, compose.ErrNoModel) {
			err = verdict{err}
		}
		return nil, &stepError{"deploy", short(commit), err}
	}
	model.Activate()
	c := &candidate{commit: commit, resolved: model, images: model.Images(s.cfg.Name), built: model.Built(), record: Record{Commit: commit.String(), Settings: s.cfg.settings()}}
	if c.record.Inputs, err = s.repo.Entries(commit, model.Uses(s.stage(), compose.Mounted)); err != nil {
		return nil, &stepError{"compare", short(commit), err}
	}
	if c.record.Contexts, err = s.repo.Entries(commit, model.Uses(s.stage(), compose.Context)); err != nil {
		return nil, &stepError{"compare", short(commit), err}
	}
	if err := replaceFile(s.cfg.Dir, filepath.Base(s.stagedModel()), model.Encode()); err != nil {
		return nil, fmt.Errorf("cannot save the model: %w", err)
	}
	model.Reroot(s.stage(), s.checkout())
	c.model = model.Encode()
	return c, nil
}

// checkVersions asks compose and the engine once in a worker's life whether they
// are new enough.
func (s *Service) checkVersions(ctx context.Context) error {
	if s.versionsFine {
		return nil
	}
	if err := s.project.CheckVersion(ctx); err != nil {
		return err
	}
	if err := s.engine.CheckVersion(ctx); err != nil {
		return err
	}
	s.versionsFine = true
	return nil
}

// compare finds what is different from what is deployed.
func (s *Service) compare(c *candidate) error {
	state := s.snapshot()
	switch {
	case state.Switching != "":
		c.changes = []string{"an earlier deploy did not end"}
		return nil
	case state.Deployed == nil:
		c.changes = []string{"first deploy"}
		return nil
	}
	deployed, err := os.ReadFile(s.deployedModel())
	if errors.Is(err, fs.ErrNotExist) {
		c.changes = []string{"the deployed model is missing"}
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the deployed model: %w", err)
	}
	if string(deployed) != string(c.model) {
		c.changes = append(c.changes, s.whatChanged(state.Deployed))
	}
	for _, path := range different(state.Deployed.Inputs, c.record.Inputs) {
		c.changes = append(c.changes, path+" changed")
	}
	c.contexts = different(state.Deployed.Contexts, c.record.Contexts)
	return nil
}

// whatChanged is what to call a difference between two models.
func (s *Service) whatChanged(deployed *Record) string {
	switch {
	case deployed.Settings != s.cfg.settings():
		return "the service's configuration changed"
	case s.cfg.Compose != "":
		return s.cfg.Compose + " changed"
	default:
		return "the compose file changed"
	}
}

// different returns the paths whose identity differs, sorted.
func different(a, b map[string]string) []string {
	var paths []string
	for path := range b {
		if a[path] != b[path] {
			paths = append(paths, path)
		}
	}
	for path := range a {
		if _, ok := b[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// onStaged runs compose on the model of the stage.
func (s *Service) onStaged(ctx context.Context, out compose.Output, args ...string) error {
	return s.project.Run(ctx, s.stagedModel(), s.projectDir(s.stage()), out, args...)
}

// note records a commit that brings nothing new: the checkout follows, what
// runs stays as it is.
func (s *Service) note(ctx context.Context, c *candidate) error {
	state := s.snapshot()
	if state.Deployed.is(c.record.Commit, c.record.Settings) && state.Verdict == nil {
		return nil
	}
	if err := s.moveCheckout(ctx, c.commit); err != nil {
		return err
	}
	// What runs is what was deployed before, under this commit's name.
	c.record.At, c.record.Reason, c.record.Images = state.Deployed.At, state.Deployed.Reason, state.Deployed.Images
	return s.update(func(st *State) {
		st.Deployed, st.Verdict = &c.record, nil
	})
}

// switchTo replaces what runs, if the checkout can follow. From when Switching
// is set to finish, a crash leaves it set, and the next deploy begins the switch
// again.
func (s *Service) switchTo(ctx context.Context, c *candidate, o order) error {
	// Its objects stay here also when the branch moves on meanwhile.
	if err := s.repo.Keep(append(hashes(s.snapshot().Checkout), c.commit)...); err != nil {
		return &stepError{"keep", short(c.commit), err}
	}
	if err := s.repo.CanSwitch(ctx, hashes(s.snapshot().Checkout), c.commit, s.checkout()); err != nil {
		return &stepError{"bring the checkout to", short(c.commit), err}
	}
	if err := s.update(func(st *State) { st.Switching = c.record.Commit }); err != nil {
		return err
	}
	s.setActivity("switch to " + short(c.commit))
	if err := s.onDeployed(ctx, o.out, "down"); err != nil {
		return &stepError{"take down what runs to deploy", short(c.commit), err}
	}
	if err := s.moveCheckout(ctx, c.commit); err != nil {
		return err
	}
	if err := replaceFile(s.cfg.Dir, filepath.Base(s.deployedModel()), c.model); err != nil {
		return fmt.Errorf("cannot save the model: %w", err)
	}
	if err := s.start(ctx, o.out); err != nil {
		return &stepError{"start", short(c.commit), err}
	}
	return nil
}

// moveCheckout brings the checkout to the commit. Before it begins it records
// that files of both commits may be there.
func (s *Service) moveCheckout(ctx context.Context, to gitrepo.Hash) error {
	from := s.snapshot().Checkout
	if len(from) > 0 && !slices.Contains(from, to.String()) {
		from = append(slices.Clone(from), to.String())
		if err := s.update(func(st *State) { st.Checkout = from }); err != nil {
			return err
		}
	}
	if err := s.repo.Switch(ctx, hashes(from), to, s.checkout()); err != nil {
		return &stepError{"bring the checkout to", short(to), err}
	}
	if err := s.repo.Keep(to); err != nil {
		return &stepError{"keep", short(to), err}
	}
	return s.update(func(st *State) { st.Checkout = []string{to.String()} })
}

func hashes(commits []string) []gitrepo.Hash {
	var all []gitrepo.Hash
	for _, commit := range commits {
		all = append(all, plumbing.NewHash(commit))
	}
	return all
}

// finish records the deploy as the one that runs.
func (s *Service) finish(c *candidate) error {
	c.record.At = time.Now()
	return s.update(func(st *State) {
		st.Deployed, st.Switching, st.Verdict = &c.record, "", nil
	})
}

// say writes a line of pgo's own between compose's.
func say(out compose.Output, format string, args ...any) {
	if out.Stderr != nil {
		_, _ = fmt.Fprintf(out.Stderr, format+"\n", args...)
	}
}
