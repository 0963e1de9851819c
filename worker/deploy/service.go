// Package deploy brings one service from its branch to running containers, and
// keeps what it did in state.json. Its one path is the same for the poll, for
// `up` and for the first start.
package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
	"pgo/worker/policy"
)

// Config is what a Service needs to know; immutable.
type Config struct {
	Name    string
	Dir     string // the service's directory
	Remote  gitrepo.Remote
	Branch  string
	Compose string        // the compose file's path in the repository; empty: one of the usual names
	Ignore  bool          // deploy only when told
	Timeout time.Duration // for one whole deploy
	Project compose.Project

	Registries []compose.Registry

	InPlace  bool          // replace only what changed, instead of down and up
	Rollback bool          // go back when a deploy does not become healthy
	Gate     time.Duration // how long a deploy may take to become healthy
	Limits   policy.Limits // what the operator grants; its neighbours come with Adjust

	Proxy  *Proxy  // nil: the service is no reverse proxy
	Routes []Route // its own urls

	OnStep func(Step) // called as each step begins; nil: nobody wants to know
}

// settings identifies what, beside the commit, makes the model. When it changes
// what runs is compared again.
func (c Config) settings() string {
	h := sha256.New()
	for _, part := range [][]string{{c.Compose, c.Project.Host}, c.Project.Profiles, c.Project.Env} {
		fmt.Fprintf(h, "%q\n", part)
	}
	if c.Proxy != nil {
		fmt.Fprintf(h, "%q\n", c.Proxy.Import) // what a commit has in its place condemns it
	}
	if c.Remote.Submodules != nil {
		fmt.Fprintf(h, "submodules %q\n", c.Remote.Submodules) // one from elsewhere condemns a commit
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Service is one service. Its changing methods must not run at the same time as
// another of them; they say so. All others may be called at any time.
type Service struct {
	cfg     Config
	repo    *gitrepo.Repo
	project *compose.Project
	engine  compose.Engine
	history *history
	journal journal
	log     hclog.Logger
	changed func()

	// For changes only.
	isDown       bool // nothing runs since somebody said down
	versionsFine bool // compose and engine are new enough
	faults       faults
	healing      healing
	held         Basis // what was proven and is held

	reloadBackoff  reloadBackoff
	saidNobodyTold bool   // that nobody tells the proxy
	proxyTrouble   string // what was logged last of that; empty: all is well

	mu     sync.Mutex // guards what follows, which changes write and everybody reads
	policy policy.Limits
	state  State
	damage error // of the state that was saved: then nothing is changed, and all can be seen
	status Status

	snippetText string            // the newest snippet, for a proxy
	urlPorts    map[string]uint32 // see Neighbours.Ports; never changed, only replaced
}

// Status is what a Service says of itself.
type Status struct {
	Wanted     Wanted
	Head       gitrepo.Hash // the fetched commit
	Deployed   gitrepo.Hash
	DeployedAt time.Time
	Trigger    string // who or what asked for what runs
	Reason     string // why what runs was deployed
	Activity   string // the step that is being worked at, or Idle
	Outcome    Outcome
	Error      string   // of the last look, fetch or deploy; empty: all is well
	Details    []string // of the error
	ErrorSince time.Time
	Frozen     *Frozen
	Pin        *Pin
	Unwell     []string                // containers that are not as they should be, and how
	Ports      []compose.Published     // host ports that its running containers have
	OnHost     []compose.HostContainer // running containers that may listen at host ports themselves
	Warnings   []string                // what works, or could, and should be changed
	Snippet    *Snippet                // nil: the service is no reverse proxy
}

// Idle is the activity between two changes.
const Idle = "idle"

// Outcome is what a deploy or poll came to.
type Outcome string

const (
	Deployed  Outcome = "deployed"
	Held      Outcome = "held"     // there is something new, and nobody has said up
	Halted    Outcome = "frozen"   // the branch is not followed
	TakenDown Outcome = "down"     // somebody said down
	Refused   Outcome = "refused"  // by the policy: what ran runs on
	Failed    Outcome = "failed"   // before the switch, or by a fault of the surroundings
	Degraded  Outcome = "degraded" // it did not become healthy
)

// Open opens the service in its directory, which exists and is this process's
// own. Nothing is started and no network is used. changed is called after each
// change of Status or of the keys.
func Open(cfg Config, log hclog.Logger, changed func()) (*Service, error) {
	s := newService(cfg, log, changed)
	if err := s.makeDirs(); err != nil {
		return nil, err
	}
	if err := s.project.LogIn(cfg.Registries); err != nil {
		return nil, err
	}
	var err error
	if s.history, err = openHistory(filepath.Join(cfg.Dir, "history")); err != nil {
		log.Warn("the history is not complete", "error", err)
	}
	s.repo, err = gitrepo.Open(filepath.Join(cfg.Dir, "repo.git"), cfg.Remote, cfg.Branch)
	if err != nil {
		return nil, err
	}
	if why := s.repo.Rebuilt(); why != nil {
		log.Warn("the git repository was damaged and is fetched again", "reason", why)
	}
	s.journal.load(s.history.dir)
	s.status = Status{Activity: Idle}
	state := s.state
	if state.Deployed != nil {
		s.status.Outcome = Deployed
	}
	if head, _ := s.repo.Head(); state.Verdict != nil && (state.Verdict.Commit == head || head.IsZero()) {
		v := state.Verdict
		s.status.Outcome, s.status.Error, s.status.Details, s.status.ErrorSince = v.Outcome, v.Error, v.Details, v.At
	}
	s.judge()
	return s, nil
}

// newService is a service as its directory has it, without a repository.
func newService(cfg Config, log hclog.Logger, changed func()) *Service {
	state, damage := loadState(cfg.Dir)
	s := &Service{cfg: cfg, project: &cfg.Project, log: log, changed: changed, state: state, damage: damage, policy: cfg.Limits}
	s.engine.Host = cfg.Project.Host
	s.project.Name = cfg.Name
	s.project.Home = filepath.Join(cfg.Dir, "docker")
	s.project.Checkout = filepath.Join(cfg.Dir, "checkout")
	return s
}

func (s *Service) makeDirs() error {
	for dir, mode := range map[string]os.FileMode{s.project.Home: 0o700, s.stage(): 0o700, s.checkout(): 0o755} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return fmt.Errorf("cannot make the service's directory: %w", err)
		}
		// Whatever the umask says: containers of any user read the checkout.
		if err := os.Chmod(dir, mode); err != nil {
			return fmt.Errorf("cannot make the service's directory: %w", err)
		}
	}
	return nil
}

// Neighbours is what a host has beside a service, for the policy.
type Neighbours struct {
	Services []string           // their names
	Granted  []policy.PortRange // host ports of theirs, and pgod's own
	Reserved map[string]string  // the host part of each target in urls, and whose it is
	Snippet  string             // for a reverse proxy: what its snippet is to hold
	Ports    map[string]uint32  // for a reverse proxy: URLs, and their ports but 80 and 443
}

// Adjust tells what the service has for neighbours from now on.
func (s *Service) Adjust(n Neighbours) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy.Others, s.policy.Granted, s.policy.Reserved = n.Services, n.Granted, n.Reserved
	s.snippetText, s.urlPorts = n.Snippet, n.Ports
}

// limits is what a model is held against now.
func (s *Service) limits() policy.Limits {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.policy
	l.Service, l.Checkout, l.Stage = s.cfg.Name, s.checkout(), s.stage()
	return l
}

// basis is what there is to know of a commit's deploy before it is begun.
func (s *Service) basis(commit gitrepo.Hash) Basis {
	h := sha256.New()
	l := s.limits()
	_ = json.NewEncoder(h).Encode(l)
	return Basis{Commit: commit, Settings: s.cfg.settings(), Limits: hex.EncodeToString(h.Sum(nil))}
}

func (s *Service) stage() string    { return filepath.Join(s.cfg.Dir, "stage") }
func (s *Service) checkout() string { return s.project.Checkout }

// The models of the stage, of what is deployed, and as that is started: with
// the images that it is to have, whatever their names mean by now.
func (s *Service) stagedModel() string   { return filepath.Join(s.cfg.Dir, "staged.json") }
func (s *Service) deployedModel() string { return filepath.Join(s.cfg.Dir, "deployed.json") }
func (s *Service) startModel() string    { return filepath.Join(s.cfg.Dir, "start.json") }

// projectDir is the directory in tree that the compose file's paths are about.
func (s *Service) projectDir(tree string) string {
	return filepath.Join(tree, filepath.Dir(s.cfg.Compose))
}

// Status returns the present status.
func (s *Service) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status
	status.Wanted = s.state.Wanted
	if d := s.state.Deployed; d != nil {
		status.Deployed, status.DeployedAt, status.Trigger, status.Reason = d.Commit, d.At.Add(d.Duration), d.Trigger, d.Reason
	}
	status.Frozen, status.Pin = s.state.Frozen, s.state.pinned(time.Now())
	if s.cfg.Proxy != nil {
		status.Snippet = s.state.snippetAt(s.cfg.Proxy.Import)
	}
	status.Head, _ = s.repo.Head()
	return status
}

// Keys returns the public keys of the fetched head, and whether there is one.
func (s *Service) Keys() (keys []gitrepo.Key, known bool) {
	head, ok := s.repo.Head()
	if !ok {
		return nil, false
	}
	keys, ignored, err := s.repo.Keys(head)
	if err != nil {
		s.log.Error("cannot read the keys", "commit", head.String(), "error", err)
		return nil, false
	}
	for _, why := range ignored {
		s.log.Warn("ignored a key", "commit", head.String(), "reason", why)
	}
	return keys, true
}

// Hash returns the fetched commit.
func (s *Service) Hash() (gitrepo.Hash, error) {
	head, ok := s.repo.Head()
	if !ok {
		return head, ErrNothingFetched
	}
	return head, nil
}

// Show runs a compose command that changes nothing, on what is deployed.
func (s *Service) Show(ctx context.Context, out compose.Output, args ...string) error {
	return s.onDeployed(ctx, out, args...)
}

// onDeployed runs compose on the deployed model. Where there is none, compose
// acts on what bears the project's name: nothing, or what an earlier life of
// this service left.
func (s *Service) onDeployed(ctx context.Context, out compose.Output, args ...string) error {
	model := s.deployedModel()
	if _, err := os.Stat(model); err != nil {
		model = ""
	}
	return s.inCheckout(ctx, model, out, args...)
}

// inCheckout runs compose on a model whose paths are in the checkout.
func (s *Service) inCheckout(ctx context.Context, model string, out compose.Output, args ...string) error {
	dir := s.projectDir(s.checkout())
	if _, err := os.Stat(dir); err != nil {
		dir = s.checkout()
	}
	return s.project.Run(ctx, model, dir, out, args...)
}

// update changes the state and saves it before anybody acts on it.
func (s *Service) update(change func(*State)) error {
	s.mu.Lock()
	err := s.damage
	if err == nil {
		next := s.state
		change(&next)
		if err = next.save(s.cfg.Dir); err == nil {
			s.state = next
		}
	}
	s.mu.Unlock()
	s.changed()
	return err
}

// usable returns why nothing can be changed. Somebody may have mended it.
func (s *Service) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.damage != nil {
		s.state, s.damage = loadState(s.cfg.Dir)
	}
	return s.damage
}

// snapshot returns the state as it is.
func (s *Service) snapshot() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *Service) setActivity(activity string) {
	s.mu.Lock()
	s.status.Activity = activity
	s.mu.Unlock()
	s.changed()
}

// idle notes that a change has ended which says nothing of what runs: who asked
// for it was told how.
func (s *Service) idle() { s.setActivity(Idle) }

// ended notes how a poll or a change ended; outcome is empty when it was not
// about what runs. What was broken off, since the worker ends, says nothing of
// the service.
func (s *Service) ended(outcome Outcome, err error) {
	s.mu.Lock()
	s.status.Activity = Idle
	broken := errors.Is(err, context.Canceled)
	if outcome != "" && err != nil && outcome != Refused && outcome != Degraded {
		outcome = Failed // though part of it may have worked
	}
	if outcome != "" && !broken {
		s.status.Outcome = outcome
	}
	switch {
	case broken:
	case err == nil:
		s.status.Error, s.status.Details, s.status.ErrorSince = "", nil, time.Time{}
	default:
		var told Record
		if told.fail(err); s.status.Error != told.Error {
			s.status.Error, s.status.Details, s.status.ErrorSince = told.Error, told.Details, time.Now()
		}
	}
	s.mu.Unlock()
	s.changed()
}
