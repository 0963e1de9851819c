package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/policy"
	"pgo/internal/printable"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// candidate is a commit on its way to be deployed.
type candidate struct {
	commit   gitrepo.Hash
	record   *Record        // as it will be
	resolved *compose.Model // its paths are in the stage, and in the checkout once it is settled
	model    []byte         // resolved as a compose file with paths in the checkout
	all      *compose.Model // resolved with all profiles; nil: there is no such model
	images   map[string]string
	built    []string        // the compose services whose image is built
	done     []string        // jobs that are not run again
	back     int             // the good deploy that it repeats; 0: none
	decided  bool            // it is known whether all containers are made anew; see decide
	anew     bool            // they are: what runs ends before
	why      string          // why they are, though they need not be in this mode
	made     bool            // an earlier worker has created its containers already
	retired  []string        // the IDs of the containers that wait to be replaced; set by the switch, as is the next
	unnamed  []compose.Mount // the volumes without a name that they had
	freeze   *Frozen         // why the branch is no longer followed once it runs

	differing []string // the compose services that differ from what runs, for what starts first
	replaced  []string // those that were replaced in place already, since others depend on them
	ended     bool     // one of the containers that answered was removed
	forced    bool     // all containers are made anew, whether or not they differ

	changes  []string // what differs from what is deployed; empty: nothing
	stays    []string // what is not deployed although the file says so
	contexts []string // build contexts that differ: they count if the image does
}

// differs reports whether there may be something to deploy.
func (c *candidate) differs() bool { return len(c.changes)+len(c.contexts) > 0 }

// reason returns what differs, in one line.
func (c *candidate) reason() string {
	all := slices.Clone(c.changes)
	for _, path := range c.contexts {
		all = append(all, "build context "+brief(path)+" changed")
	}
	const most = 3
	switch {
	case len(all) == 0:
		return "nothing changed"
	case len(all) > most:
		return fmt.Sprintf("%s, %s and %d more", all[0], all[1], len(all)-2)
	}
	text := all[0]
	for i, reason := range all[1:] {
		if i == len(all)-2 {
			text += " and " + reason
		} else {
			text += ", " + reason
		}
	}
	return text
}

// prover finds out what a commit is and whether it may run, in the stage alone.
type prover struct {
	name   string
	repo   *gitrepo.Repo
	engine *compose.Engine
	store  *store
	board  *board
	around *neighbourhood
	files  *workspace
	tree   *checkout
	proxy  *proxy
	log    hclog.Logger

	versionsFine bool // compose and engine are new enough
}

// stageAndResolve lays out the commit's tree in the stage and has compose read it there.
func (p *prover) stageAndResolve(ctx context.Context, commit gitrepo.Hash, r *Record) (*candidate, error) {
	if err := p.checkVersions(ctx); err != nil {
		return nil, err
	}
	if err := p.stageCommit(ctx, commit); err != nil {
		return nil, err
	}
	p.board.enter(StepResolve, commit)
	model, all, err := p.files.project.ResolveEach(ctx, p.files.stage(), p.files.compose...)
	if err != nil {
		if errors.Is(err, compose.ErrNoFile) || errors.Is(err, compose.ErrNoModel) {
			err = verdict{err}
			// Compose only says that there is no such file, or no YAML in it.
			err = errors.Join(err, p.provided(ctx, commit, []string{"."}))
		}
		return nil, &stepError{"deploy", commit.Short(), err}
	}
	if len(model.Services()) == 0 {
		return nil, &stepError{"deploy", commit.Short(), verdict{nothingToRun(all)}}
	}
	r.Warnings = model.Warnings()
	model.Activate()
	unlimited, err := p.engine.Unlimited(ctx, model)
	if err != nil {
		p.log.Warn("cannot tell which limits the engine enforces", "commit", commit.Short(), "error", err)
	}
	r.Warnings = slices.Concat(r.Warnings, unlimited)
	c, err := p.candidate(ctx, commit, model, r)
	if err != nil {
		return nil, err
	}
	c.all = all
	return c, nil
}

// nothingToRun returns the error for a compose file without a compose service to run. all is
// its model with all profiles, or nil.
func nothingToRun(all *compose.Model) error {
	if all == nil || len(all.Services()) == 0 {
		return errors.New("the compose file has no services; run down to stop what runs")
	}
	return fmt.Errorf("nothing is to be run: all services (%s) have profiles, and none of these is in the `profiles` of this service's configuration",
		strings.Join(all.Services(), ", "))
}

func (p *prover) stageCommit(ctx context.Context, commit gitrepo.Hash) error {
	p.board.enter(StepStage, commit)
	if err := p.files.makeDirs(); err != nil {
		return &stepError{"stage", commit.Short(), err}
	}
	if err := p.repo.FetchSubmodules(ctx, commit); errors.Is(err, gitrepo.ErrDamaged) || ctx.Err() != nil {
		return &stepError{"stage", commit.Short(), err}
	} else if err != nil {
		p.log.Warn("a submodule is missing", "commit", commit.Short(), "error", err) // it may not be needed
	}
	if err := p.repo.Stage(ctx, commit, p.files.stage()); err != nil {
		if errors.Is(err, gitrepo.ErrBadCommit) {
			err = verdict{err}
		}
		return &stepError{"stage", commit.Short(), err}
	}
	return nil
}

// candidate returns the candidate for a model of a commit, whose paths are in the stage.
func (p *prover) candidate(ctx context.Context, commit gitrepo.Hash, model *compose.Model, r *Record) (*candidate, error) {
	if err := p.proxy.placeIn(commit); err != nil {
		return nil, &stepError{"deploy", commit.Short(), verdict{err}}
	}
	c := &candidate{commit: commit, record: r, resolved: model, images: model.Images(p.name), built: model.Built()}
	mounted, contexts := model.Uses(p.files.stage(), compose.Mounted), model.Uses(p.files.stage(), compose.Context)
	if err := p.provided(ctx, commit, slices.Concat(mounted, contexts)); err != nil {
		return nil, &stepError{"deploy", commit.Short(), err}
	}
	var err error
	if r.Inputs, err = p.repo.Entries(commit, mounted); err == nil {
		r.Contexts, err = p.repo.Entries(commit, contexts)
	}
	if err != nil {
		return nil, &stepError{"compare", commit.Short(), err}
	}
	return c, nil
}

// provided returns an error if the commit has only a reference in place of a file that is
// used: a submodule that cannot be fetched, or a Git LFS pointer.
func (p *prover) provided(ctx context.Context, commit gitrepo.Hash, paths []string) error {
	missing, err := p.repo.Missing(ctx, commit, paths)
	if err != nil || len(missing) == 0 {
		return err
	}
	incomplete := &incompleteError{missing}
	if slices.ContainsFunc(missing, func(m gitrepo.Missing) bool { return !m.Verdict }) {
		return incomplete
	}
	return verdict{incomplete}
}

// incompleteError lists what a commit needs and does not have.
type incompleteError struct{ missing []gitrepo.Missing }

func (e *incompleteError) Error() string {
	text := e.missing[0].String()
	if more := len(e.missing) - 1; more > 0 {
		text += fmt.Sprintf(", and %d more like it", more)
	}
	return text
}

// Details returns a line for each missing item.
func (e *incompleteError) Details() []string {
	if len(e.missing) == 1 {
		return nil
	}
	var all []string
	for _, m := range e.missing {
		all = append(all, m.String())
	}
	return all
}

// settle saves the candidate's model, which has passed the policy, for compose to pull and
// build from the stage, and moves its paths to where containers will have them.
func (p *prover) settle(c *candidate) error {
	c.resolved.NameValues()
	staged := c.resolved.Clone()
	compose.BuildFor(staged, p.name)
	if err := p.files.save(stagedModel, staged.Encode()); err != nil {
		return err
	}
	c.resolved.Reroot(p.files.stage(), p.files.checkout())
	c.model = c.resolved.Encode()
	return nil
}

// checkVersions checks once in a worker's life that compose and the engine are new enough.
func (p *prover) checkVersions(ctx context.Context) error {
	if p.versionsFine {
		return nil
	}
	if err := p.files.project.CheckVersion(ctx); err != nil {
		return err
	}
	if err := p.engine.CheckVersion(ctx); err != nil {
		return err
	}
	p.versionsFine = true
	return nil
}

// check checks the model against the policy, and also the model with all of its profiles:
// nobody has to wonder what one of them would bring.
func (p *prover) check(ctx context.Context, c *candidate) error {
	p.board.enter(StepCheck, c.commit)
	limits := p.around.limits()
	judged, err := p.asMade(ctx, c.resolved)
	if err != nil {
		return &stepError{"check", c.commit.Short(), err}
	}
	then, err := p.tree.forecast(c.commit)
	if err != nil {
		return &stepError{"check", c.commit.Short(), err}
	}
	defer then.Close()
	refusals := policy.Check(limits, judged.Document(), then)
	if c.all != nil {
		refusals = together(refusals, policy.Check(limits, c.all.Document(), then))
	}
	if err := refuse(p.files.project.Redact, c, refusals); err != nil {
		return err
	}
	for _, mistaken := range []error{compose.Unmakeable(c.resolved), compose.CheckExtensions(c.resolved)} {
		if mistaken != nil {
			return &stepError{"deploy", c.commit.Short(), verdict{mistaken}}
		}
	}
	return p.present(c, limits, then)
}

// present returns an error if a file or directory will be missing that containers cannot be created
// without. It need not be the commit's fault: somebody may have to put it there by hand.
func (p *prover) present(c *candidate, limits policy.Limits, then policy.Lookup) error {
	required := compose.Required(c.resolved)
	for _, path := range slices.Sorted(maps.Keys(required)) {
		if policy.Exists(limits, path, then) {
			continue
		}
		why := fmt.Sprintf("%s: %s does not exist on this host: have an operator create it", required[path], brief(path))
		if rel, err := filepath.Rel(p.files.stage(), path); err == nil && filepath.IsLocal(rel) {
			why = fmt.Sprintf("%s: %s is neither in the repository nor in the checkout: commit it, or have an operator put it on the host as %s",
				required[path], brief(rel), brief(filepath.Join(p.files.checkout(), rel)))
		}
		return &stepError{"deploy", c.commit.Short(), errors.New(why)}
	}
	return nil
}

// together returns the refusals of two looks, without those of the second that the first has. If
// the same entry of allow lifts both, it does not matter that they name different compose services.
func together(first, second []policy.Refusal) []policy.Refusal {
	same := func(r policy.Refusal) policy.Refusal {
		if r.Allow != "" {
			r.Rule = ""
		}
		return r
	}
	known := map[policy.Refusal]bool{}
	for _, r := range first {
		known[same(r)] = true
	}
	for _, r := range second {
		if !known[same(r)] {
			first = append(first, r)
		}
	}
	return first
}

// asMade returns a model with its volumes as the engine has created them: an earlier commit
// may have defined them otherwise, and those are mounted.
func (p *prover) asMade(ctx context.Context, model *compose.Model) (*compose.Model, error) {
	made, err := p.engine.Volumes(ctx, model.VolumeNames())
	if err != nil {
		return nil, err
	}
	return model.WithVolumes(made), nil
}

// refuse returns the verdict on a candidate with the given refusals, or nil if there are
// none.
func refuse(redact func(string) string, c *candidate, refusals []policy.Refusal) error {
	if len(refusals) == 0 {
		return nil
	}
	first := refusals[:min(len(refusals), maxRefusals)]
	for i, r := range first {
		first[i].Path, first[i].Found, first[i].Rule = redact(r.Path), redact(r.Found), redact(r.Rule)
		if redact(r.Allow) != r.Allow {
			first[i].Allow = ""
		}
	}
	return verdict{&RefusedError{Commit: c.commit.Short(), Refusals: first, All: len(refusals)}}
}

// compare finds what differs from what is deployed.
func (p *prover) compare(c *candidate) error {
	state := p.store.snapshot()
	switch {
	case state.Switching != nil:
		c.changes = []string{state.Switching.why()}
		return nil
	case state.Deployed == nil:
		c.changes = []string{"first deploy"}
		return nil
	}
	if state.Deployed.Engine != p.files.project.Host {
		c.changes = []string{"another Docker engine is configured"}
		return nil
	}
	deployed, err := p.files.loadDeployed()
	if err != nil {
		c.changes = []string{"the deployed model is missing or damaged"}
		return nil
	}
	if !state.Deployed.good() {
		c.changes = append(c.changes, "the last deploy did not become healthy")
	}
	c.changes = append(c.changes, p.whatChanged(state.Deployed, compose.Diff(deployed, c.resolved))...)
	for _, path := range different(state.Deployed.Inputs, c.record.Inputs) {
		c.changes = append(c.changes, brief(path)+" changed")
	}
	c.contexts = different(state.Deployed.Contexts, c.record.Contexts)
	return nil
}

// maxReason bounds what is shown of one key or path that changed.
const maxReason = 300

// brief returns a key or a path of a repository in a form that is fit to be shown.
func brief(name string) string { return printable.Cut(printable.Line(name), maxReason) }

// whatChanged describes the keys in which two models differ.
func (p *prover) whatChanged(deployed *Record, keys []string) []string {
	const most = 20
	var changes []string
	for i, key := range keys {
		if i == most {
			return append(changes, fmt.Sprintf("%d more keys changed", len(keys)-most))
		}
		changes = append(changes, p.files.project.Redact(brief(key))+" changed")
	}
	if len(changes) > 0 && deployed.Settings != p.around.settings {
		changes[0] += " with the service's configuration"
	}
	return changes
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

// propose lays out a commit in the stage, has compose resolve it there, checks the model
// against the policy and compares it with what is deployed.
func (p *prover) propose(ctx context.Context, commit gitrepo.Hash, r *Record) (*candidate, error) {
	// Its objects stay here even if the branch moves on meanwhile.
	if err := p.tree.keep(commit); err != nil {
		return nil, &stepError{"keep", commit.Short(), err}
	}
	c, err := p.stageAndResolve(ctx, commit, r)
	if err != nil {
		return nil, err
	}
	if err := p.check(ctx, c); err != nil {
		return nil, err
	}
	if err := p.settle(c); err != nil {
		return nil, err
	}
	if c.stays, err = p.files.stays(ctx, p.engine, c.resolved); err != nil {
		return nil, &stepError{"compare", commit.Short(), err}
	}
	p.board.enter(StepCompare, commit)
	return c, p.compare(c)
}

// newRecord begins the record of a deploy.
func (p *prover) newRecord(commit gitrepo.Hash, trigger string) *Record {
	r := &Record{Number: p.store.snapshot().Deploys + 1, Basis: p.around.basis(commit), At: time.Now(), Trigger: trigger, Engine: p.engine.Host}
	if info, err := p.repo.Commit(commit); err == nil {
		r.Author, r.Subject = info.Author, info.Subject
	}
	return r
}
