// Package deploy takes one service from its branch to running containers, and keeps what it
// did in state.json. The poll, `up` and the first start all take the same path.
//
// Readers use a Service. Changes use a Turn, which the Queue gives to one change at a time.
// Behind both, each concern has an owner with its own state: the store, the images, the
// proxy, the containers and so on. An owner knows the owners that it needs and never the
// whole. Nothing here knows about gRPC or clients.
package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/policy"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// Config is the configuration of a Service. It is immutable.
type Config struct {
	Name    string
	Dir     string // the service's directory
	Remote  gitrepo.Remote
	Branch  string
	Compose []string      // the compose files' paths in the repository, in order; empty: one of the usual names
	Ignore  bool          // deploy only when told
	Adopt   bool          // the first deploy may replace containers that somebody else started
	Timeout time.Duration // for one whole deploy
	Project compose.Project

	Registries []compose.Registry

	InPlace    bool          // replace only what changed, instead of down and up
	StartFirst bool          // what is behind the proxy starts before what it replaces ends; implies InPlace
	Rollback   bool          // go back if a deploy does not become healthy
	Gate       time.Duration // how long a deploy may take to become healthy
	Limits     policy.Limits // what the operator grants; the neighbours come with Adjust

	Proxy  *Proxy  // nil: the service is not a reverse proxy
	Routes []Route // its own urls

	OnStep func(Step) // called when each step begins; may be nil
}

// settings identifies what makes the model in addition to the commit. When it changes, what
// runs is compared again.
func (c Config) settings() string {
	h := sha256.New()
	for _, part := range [][]string{{strings.Join(c.Compose, "\x00"), c.Project.Host}, c.Project.Profiles, c.Project.Env} {
		fmt.Fprintf(h, "%q\n", part)
	}
	if c.Proxy != nil {
		fmt.Fprintf(h, "%q\n", c.Proxy.Import) // a commit with something in its place is condemned
	}
	if p := c.Project; p.Proxies != (compose.Proxies{}) || len(p.CA) > 0 {
		fmt.Fprintf(h, "proxies %q %q\n", p.Proxies, p.CA) // a commit that could not be built without is condemned
	}
	if c.StartFirst {
		fmt.Fprintf(h, "start-first %q\n", c.Routes)
	}
	if c.Remote.Submodules != nil {
		fmt.Fprintf(h, "submodules %q\n", c.Remote.Submodules) // a commit with one from elsewhere is condemned
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Service is one service, for readers: all of its methods may be called at any time. Turn
// has what changes it.
type Service struct {
	log  hclog.Logger
	repo *gitrepo.Repo

	startFirst bool // set once

	queue *Queue
	work  *deployer // for Do alone

	store      *store
	board      *board
	around     *neighbourhood
	files      *workspace
	engine     *compose.Engine
	branch     *branch
	proxy      *proxy
	ports      *hostPorts
	containers *containers
}

// Open opens the service in its directory, which exists and is this process's own. It
// starts nothing and does not use the network. Changes take their turns in the queue.
// changed is called after each change of Status or of the keys.
func Open(cfg Config, queue *Queue, log hclog.Logger, changed func()) (*Service, error) {
	files := newWorkspace(cfg)
	// What only a change needs does not keep the service from being served: whoever has to make
	// room on a full disk needs exec. It is a warning in the status, and tried with each poll.
	_ = files.prepare()
	store, err := openStore(cfg.Dir, changed)
	if err != nil {
		log.Warn("the history is incomplete", "error", err)
	}
	repo, err := gitrepo.Open(filepath.Join(cfg.Dir, "repo.git"), cfg.Remote, cfg.Branch)
	if err != nil {
		return nil, err
	}
	if why := repo.Rebuilt(); why != nil {
		log.Warn("the git repository was damaged and is fetched again", "reason", why)
	}
	head, _ := repo.Head()
	board := newBoard(store.snapshot(), head, cfg.OnStep, changed)
	d := newDeployer(cfg, files, store, board, repo, log)
	d.compacted = head
	d.advice.judge()
	return &Service{
		log: log, repo: repo, queue: queue, work: d, store: store, board: board, around: d.around, files: files, engine: d.engine,
		branch: d.branch, proxy: d.proxy, ports: d.ports, containers: d.containers, startFirst: cfg.StartFirst,
	}, nil
}

// Do runs a change when its turn comes; see Queue.
func (s *Service) Do(ctx context.Context, name string, waiting func(running string), change func(*Turn) error) error {
	return s.queue.do(ctx, s.work, name, waiting, func(t *Turn) error {
		t.mend()
		return change(t)
	})
}

// Adjust sets the neighbours of the service from now on. A proxy acts on switches at once, whatever
// else it is doing.
func (s *Service) Adjust(n Neighbours) {
	s.around.adjust(n)
	s.proxy.obey()
}

// Refresh fetches the branch for the keys in it while a change runs and Poll has to wait.
// Errors are left for the next Poll to report.
func (s *Service) Refresh(ctx context.Context) { s.branch.refresh(ctx) }

// Happened records an event of the engine, and reports whether it is a reason to Heal.
func (s *Service) Happened(e compose.Event) bool { return s.containers.happened(e) }

// Status returns the current status.
func (s *Service) Status() Status {
	status, state := s.board.get(), s.store.snapshot()
	status.Wanted = state.Wanted
	if d := state.Deployed; d != nil {
		status.Deployed, status.DeployedAt, status.Trigger, status.Reason = d.Commit, d.At.Add(d.Duration), d.Trigger, d.Reason
	}
	status.Frozen, status.Pin = state.Frozen, state.pinned(time.Now())
	if s.proxy.entry != nil {
		status.Snippet = state.snippetAt(s.proxy.entry.Import)
	}
	status.Switches = state.Switches
	if s.startFirst && state.Deployed != nil {
		status.Ways = state.Deployed.Ways
		now, _ := s.around.now()
		status.Unswitched = now.CannotSwitch
	}
	status.Head, _ = s.repo.Head()
	return status
}

// Keys returns the public keys of the fetched head, a warning for each that cannot log in, and
// whether they are known.
func (s *Service) Keys() (keys []gitrepo.Key, warnings []string, known bool) {
	head, ok := s.repo.Head()
	if !ok {
		return nil, nil, false
	}
	keys, ignored, err := s.repo.Keys(head)
	if err != nil {
		s.log.Error("cannot read the keys", "commit", head.String(), "error", err)
		return nil, nil, false
	}
	for _, why := range ignored {
		s.log.Warn("ignored a key", "commit", head.String(), "reason", why)
		warnings = append(warnings, "ignored a key: "+why)
	}
	return keys, warnings, true
}

// Hash returns the fetched commit.
func (s *Service) Hash() (gitrepo.Hash, error) {
	head, ok := s.repo.Head()
	if !ok {
		return head, ErrNothingFetched
	}
	return head, nil
}

// Show runs a compose command that changes nothing, on what is deployed. services are those of
// its arguments that name compose services: not every command of compose looks for them.
func (s *Service) Show(ctx context.Context, out compose.Output, services []string, args ...string) error {
	if err := s.has(ctx, services); err != nil {
		return err
	}
	return s.files.onDeployed(ctx, out, args...)
}

// has returns an error if one of the compose services is not known. While nothing is deployed, or
// a switch is not finished, that is any which the deployed or the next model has, or a container
// is of: some commands of compose wait for ever for one that is none of these.
func (s *Service) has(ctx context.Context, services []string) error {
	if len(services) == 0 {
		return nil
	}
	state := s.store.snapshot()
	model, err := s.files.loadDeployed()
	if err == nil && state.Deployed != nil && state.Switching == nil {
		return checkNames(model, services)
	}
	var known []string
	if err == nil {
		known = model.Services()
	}
	if state.Switching != nil {
		if next, err := s.files.load(stagedModel); err == nil {
			known = append(known, next.Services()...)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	containers, err := s.engine.Containers(ctx, s.files.project.Name)
	if err != nil {
		return err
	}
	for _, c := range containers {
		known = append(known, c.Service)
	}
	if len(known) == 0 {
		return ErrNothingDeployed
	}
	slices.Sort(known)
	return checkKnown(slices.Compact(known), services)
}

// FollowEngine reports the engine's events about the service's containers until ctx or the
// engine ends.
func (s *Service) FollowEngine(ctx context.Context, began func(), happened func(compose.Event)) error {
	return s.engine.Events(ctx, s.files.project.Name, began, happened)
}

// Docker finds out what there is of Docker. The error says that something is missing, or too old.
func (s *Service) Docker(ctx context.Context) (compose.Found, error) {
	return compose.Look(ctx, s.files.project, s.engine)
}

// LookAtEngine finds out whether the engine answers before ctx ends, and puts in the status if it
// does not, and since when. A change may be waiting for the engine meanwhile.
func (s *Service) LookAtEngine(ctx context.Context) error {
	err := s.engine.Away(ctx)
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return nil // nobody waited for it
	}
	before := s.board.get()
	away, since := "", time.Time{}
	if err != nil {
		if since = before.AwaySince; since.IsZero() {
			since = time.Now()
		}
		away = fmt.Sprintf("nobody knows what runs: %s (since %s)", s.files.project.Redact(err.Error()), since.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	if before.EngineAway != away {
		s.board.edit(func(st *Status) { st.EngineAway, st.AwaySince = away, since })
	}
	return err
}

// Watch writes the output of the current or the last deploy, and then what is added, until
// ctx ends.
func (s *Service) Watch(ctx context.Context, out compose.Output) error {
	return s.store.journal.follow(ctx, out.Stdout)
}

// LookAtPorts finds out which host ports the service's running containers have, and which
// containers may have others.
func (s *Service) LookAtPorts(ctx context.Context) error { return s.ports.look(ctx) }

// Usage measures what the service's containers use. It only reads.
func (s *Service) Usage(ctx context.Context) ([]compose.Usage, error) {
	return s.engine.Usage(ctx, s.files.project.Name)
}
