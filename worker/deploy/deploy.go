package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/printable"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// order says why and how a deploy was requested.
type order struct {
	trigger string // "poll", "up by miek"
	told    bool   // somebody ran up: an image that moved by itself counts
	force   bool   // switch even if nothing differs
	build   bool   // build even if no context differs
	pull    string // pull policy: always, missing, never
	hold    bool   // prove the commit, and leave what runs as it is
	out     compose.Output
}

// deployer takes a commit the whole way, and back: it coordinates the owners. Only the
// change that has the turn may use it.
type deployer struct {
	cfg    Config
	log    hclog.Logger
	repo   *gitrepo.Repo
	engine *compose.Engine

	store      *store
	board      *board
	around     *neighbourhood
	files      *workspace
	branch     *branch
	tree       *checkout
	images     *images
	proxy      *proxy
	advice     *advice
	ports      *hostPorts
	obstacles  *obstacles
	prover     *prover
	starter    *starter
	gate       *gate
	requests   *requests
	ahead      *ahead
	rehearsal  *rehearsal
	containers *containers

	isDown bool // nothing has run since somebody ran down
	faults faults
	held   Basis // what was proven and is held
	wentOn bool  // this worker has tried to finish an interrupted switch with what it had

	compacted gitrepo.Hash // the head when the repository was last compacted
}

// newDeployer connects the owners: each gets those that it needs. repo is nil for a
// removal, which only takes down.
func newDeployer(cfg Config, files *workspace, store *store, board *board, repo *gitrepo.Repo, log hclog.Logger) *deployer {
	engine := &compose.Engine{Host: cfg.Project.Host}
	name, redact, around := cfg.Name, files.project.Redact, newNeighbourhood(cfg, files)
	d := &deployer{cfg: cfg, log: log, repo: repo, engine: engine, store: store, board: board, around: around, files: files}
	d.branch = &branch{repo: repo, store: store, board: board, log: log, timeout: cfg.Timeout}
	d.tree = &checkout{name: name, repo: repo, engine: engine, store: store, around: around, files: files, log: log}
	d.images = &images{name: name, engine: engine, store: store, board: board, around: around, files: files, log: log}
	d.proxy = &proxy{entry: cfg.Proxy, name: name, repo: repo, engine: engine, store: store, around: around, board: board, files: files, redact: redact, log: log}
	d.advice = &advice{name: name, allow: cfg.Limits.Allow, routes: cfg.Routes, repo: repo, store: store, board: board, around: around, files: files,
		proxy: d.proxy, redact: redact, log: log}
	d.obstacles = &obstacles{name: name, engine: engine, vicinity: &compose.Vicinity{Engine: engine, Project: name}, files: files, log: log}
	d.ports = newHostPorts(cfg, files, board, engine)
	files.project.Granted, files.project.Tracked = around.readable, d.tree.tracked
	d.prover = &prover{name: name, repo: repo, engine: engine, store: store, board: board, around: around, files: files, tree: d.tree, proxy: d.proxy, log: log}
	d.starter = &starter{name: name, engine: engine, store: store, board: board, around: around, files: files, redact: redact, log: log}
	d.gate = &gate{name: name, time: cfg.Gate, engine: engine, store: store, board: board, starter: d.starter, follow: !cfg.Ignore, redact: redact, log: log}
	d.gate.head = func() gitrepo.Hash {
		head, _ := repo.Head()
		return head
	}
	d.requests = &requests{store: store, around: around, log: log}
	d.ahead = &ahead{name: name, enabled: cfg.StartFirst, isProxy: cfg.Proxy != nil, routes: cfg.Routes, engine: engine, store: store, board: board,
		files: files, starter: d.starter, gate: d.gate, requests: d.requests, log: log, onThisHost: d.ports.onThisHost}
	d.rehearsal = &rehearsal{name: name, engine: engine, store: store, board: board, files: files, starter: d.starter, ahead: d.ahead, redact: redact, log: log}
	d.containers = &containers{name: name, timeout: cfg.Timeout, engine: engine, store: store, board: board, files: files, starter: d.starter,
		redact: redact, log: log}
	return d
}

// deploy takes a fetched commit to running containers. Until it replaces what runs, it has
// changed nothing that runs and no file that a container can see. It returns whether
// something was replaced.
func (d *deployer) deploy(outer context.Context, commit gitrepo.Hash, o order, r *Record) (switched bool, err error) {
	ctx, cancel := deadline(outer, d.cfg.Timeout)
	defer cancel()

	c, err := d.prove(ctx, commit, o, r)
	switch {
	case err != nil && d.store.snapshot().Switching != nil:
		// An earlier deploy was interrupted, so something may have changed already.
		return true, d.retreat(outer, &candidate{commit: commit, record: r}, o, err)
	case err != nil:
		return false, err
	case o.hold:
		return false, d.holdBack(c)
	case len(c.changes) == 0:
		return false, d.note(ctx, c)
	}
	return true, d.replace(outer, ctx, c, o)
}

// prove does everything possible to find out whether a commit works without touching what
// runs.
func (d *deployer) prove(ctx context.Context, commit gitrepo.Hash, o order, r *Record) (*candidate, error) {
	c, err := d.prover.propose(ctx, commit, r)
	sayWarnings(o.out, r)
	if err != nil || o.hold {
		return c, err
	}
	for _, text := range c.stays {
		say(o.out, "warning: %s", text)
	}
	if err := d.ahead.foretell(ctx, c); err != nil {
		return nil, &stepError{"compare", commit.Short(), err}
	}
	if c.forced = o.force || d.store.snapshot().Switching.forces(commit); o.force {
		c.changes = append(c.changes, "forced")
	}
	if c.differs() {
		say(o.out, "deploying %s: %s", commit.Short(), c.reason())
	}
	if !o.told {
		if c.made, err = d.resumes(ctx, c); err != nil || c.made {
			r.Reason = c.reason()
			return c, err
		}
	}
	if err := d.images.pullAndBuild(ctx, c, o); err != nil {
		return nil, err
	}
	if len(c.changes) == 0 {
		// Nothing differs except where the mounts may lead.
		led, err := d.tree.existingMovedMounts(ctx, commit)
		if err != nil {
			return nil, &stepError{"compare", commit.Short(), err}
		}
		for _, m := range firstOfEach(led) {
			c.changes = append(c.changes, "what "+m.Name+" mounts at "+brief(m.Target)+" leads elsewhere")
		}
	}
	if len(c.changes) == 0 {
		return c, nil
	}
	r.Reason = c.reason()
	return c, d.prepare(ctx, c)
}

// replace replaces what runs with the candidate. If that fails, what ran before runs again,
// if there is such a deploy and going back is wanted.
func (d *deployer) replace(outer, ctx context.Context, c *candidate, o order) error {
	d.log.Info("deploying", "commit", c.commit.Short(), "trigger", c.record.Trigger, "reason", c.record.Reason)
	ctx, cancel := d.unhurried(outer, ctx, c)
	defer cancel()
	boot, err := d.engine.Boot(ctx)
	if err != nil {
		return &stepError{"start", c.commit.Short(), err}
	}
	if err = d.enter(ctx, c, o); err != nil && !isVerdict(err) && d.engine.Away(ctx) == nil && isRestarted(ctx, d.engine, boot) {
		err = fmt.Errorf("%w: %w", errRestarted, err) // what was stopped then says nothing about the commit
	}
	if err == nil {
		err = d.ahead.pass(ctx, c, o)
	}
	if err != nil {
		return d.retreat(outer, c, o, err)
	}
	d.tidy(ctx, c, o)
	if err := d.finish(ctx, c); err != nil {
		return &stepError{"record the deploy of", c.commit.Short(), err}
	}
	d.log.Info("deployed", "commit", c.commit.Short())
	return nil
}

// enter replaces what runs, unless an earlier worker ended when it had done that already.
func (d *deployer) enter(ctx context.Context, c *candidate, o order) error {
	if !c.made {
		return d.switchTo(ctx, c, o)
	}
	say(o.out, "going on with the containers that an earlier worker has made")
	return nil
}

// deadline bounds a change by the service's timeout.
func deadline(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, timeout,
		fmt.Errorf("%w: the service's timeout of %s has expired", context.DeadlineExceeded, timeout))
}

// switchTime is how long a switch may always take, in addition to its gate and to the time
// that the containers it replaces may take to stop.
const switchTime = 2 * time.Minute

// unhurried returns ctx with a deadline that leaves time for the gate: the time that
// pulling and building took is not a reason to stop between down and up.
func (d *deployer) unhurried(outer, ctx context.Context, c *candidate) (context.Context, context.CancelFunc) {
	least := time.Now().Add(d.cfg.Gate + switchTime)
	if deployed, err := d.files.loadDeployed(); err == nil {
		least = least.Add(deployed.StopGrace())
	}
	// What starts first passes the gate by itself, one container after the other.
	least = least.Add(time.Duration(d.ahead.atMost(c)) * (d.cfg.Gate + 2*proxySwitchTime + drainTime))
	if end, ok := ctx.Deadline(); !ok || end.After(least) {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(outer, least, fmt.Errorf("%w: the switch did not end", context.DeadlineExceeded))
}

// attempt deploys the commit, or a newer one that comes while it fails, and records the
// outcome.
func (d *deployer) attempt(ctx context.Context, commit gitrepo.Hash, o order) (switched bool, outcome Outcome, err error) {
	for {
		switched, outcome, err = d.attemptOne(ctx, commit, o)
		if !errors.As(err, new(*supersededError)) {
			return switched, outcome, err
		}
		say(o.out, "%s", printable.Line(err.Error()))
		head, known := d.repo.Head()
		if !known || head == commit || d.store.snapshot().condemns(d.around.basis(head)) {
			return switched, outcome, err
		}
		commit = head
	}
}

// attemptOne deploys the commit and records the outcome: in the history for people, and for
// the next poll if the failure was the commit's own fault.
func (d *deployer) attemptOne(ctx context.Context, commit gitrepo.Hash, o order) (switched bool, outcome Outcome, err error) {
	d.store.journal.begin(heading(o.trigger + ": " + commit.Short()))
	o.out = d.store.journal.recorded(o.out)
	r := d.prover.newRecord(commit, o.trigger)
	switched, err = d.deploy(ctx, commit, o, r)
	if switched || err != nil {
		d.conclude(err)
	}
	if switched {
		d.proxy.sync(ctx)
	}
	if switched || err == nil {
		d.advice.judge()
	}
	if outcome = outcomeOf(err); err == nil && o.hold {
		outcome = Held
	}
	return switched, outcome, d.remember(r, err, true)
}

// syncProxy brings the proxy up to date, and then the advice: the urls of others may be
// new.
func (d *deployer) syncProxy(ctx context.Context) {
	if d.proxy.sync(ctx) {
		d.advice.judge()
	}
}

// conclude tells everyone who watches how a deploy ended. Whoever asked for it is told
// anyway.
func (d *deployer) conclude(err error) {
	if err == nil {
		_, _ = fmt.Fprintf(&d.store.journal, "== %s\n", Deployed)
	} else {
		_, _ = fmt.Fprintf(&d.store.journal, "== %s: %s\n", outcomeOf(err), printable.Line(err.Error()))
		for _, line := range Details(err) {
			_, _ = fmt.Fprintf(&d.store.journal, "   %s\n", printable.Line(line)) // may be a container's output
		}
	}
	if err := d.store.journal.save(d.store.history.dir); err != nil {
		d.log.Warn("cannot save the deploy's output", "error", err)
	}
}

// remember records the outcome of a failed deploy and returns its error. If condemn is set,
// a verdict keeps the commit from being tried again.
func (d *deployer) remember(r *Record, err error, condemn bool) error {
	d.faults.note(r.Commit, r.Settings, err, lastWait, d.obstacles.surroundings(context.Background()))
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, gitrepo.ErrDamaged) {
		return errors.Join(err, d.branch.rebuild(err)) // the next poll fetches it again
	}
	failed := *r
	failed.Duration = time.Since(r.At)
	failed.fail(err)
	if err := d.store.history.add(failed); err != nil {
		d.log.Warn("a deploy is missing from the history", "error", err)
	}
	if !condemn || !isVerdict(err) {
		return err
	}
	return errors.Join(err, d.store.update(func(st *State) { st.Verdict = failed.verdict() }))
}

// verdict returns the verdict that keeps a failed deploy from being tried again.
func (r *Record) verdict() *Verdict {
	return &Verdict{Basis: r.Basis, Outcome: r.Outcome, At: time.Now(), Error: r.Error, Details: r.Details}
}
