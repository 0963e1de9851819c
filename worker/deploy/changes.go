package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"pgo/internal/target"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// Resume brings what runs in line with what is wanted after the worker's start,
// where a crash can have left it in between.
func (s *Service) Resume(ctx context.Context) error {
	if s.snapshot().Wanted != Down {
		return nil // the first Poll does it
	}
	err := s.stayDown(ctx)
	s.ended(TakenDown, err)
	return err
}

// stayDown takes down what is wanted down, unless that has worked before: the
// engine may have been away when somebody said down, or at the worker's start.
func (s *Service) stayDown(ctx context.Context) error {
	if s.isDown {
		return nil
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return s.takeDown(ctx, compose.Output{})
}

// Poll looks at the branch and deploys it if it moved.
func (s *Service) Poll(ctx context.Context) error {
	outcome, err := s.poll(ctx)
	s.ended(outcome, err)
	return err
}

func (s *Service) poll(ctx context.Context) (Outcome, error) {
	head, err := s.fetch(ctx)
	if err := s.usable(); err != nil {
		return "", err
	}
	state, settings := s.snapshot(), s.cfg.settings()
	if state.Wanted == Down {
		if still := s.stayDown(ctx); still != nil {
			return Failed, still
		}
		if err == nil {
			return TakenDown, nil
		}
	}
	if err != nil && (state.Switching == "" || state.Wanted == Down) {
		return "", err
	}
	commit, condemned := head, state.condemns(head.String(), settings)
	switch {
	case state.Switching != "" && (err != nil || s.cfg.Ignore || condemned):
		// Finish what was begun: the head cannot be had, nobody asked for it,
		// or it does not work.
		commit = plumbing.NewHash(state.Switching)
	case state.Switching != "":
	case state.Deployed.is(head.String(), settings):
		return "", nil
	case s.cfg.Ignore:
		return Held, nil
	case condemned:
		return Failed, errors.New(state.Verdict.Error)
	}
	if wait := s.faults.wait(commit.String(), settings); wait != nil {
		return Failed, wait
	}
	_, outcome, err := s.attempt(ctx, commit, order{trigger: "poll", pull: "missing"})
	return outcome, err
}

// attempt deploys the commit, and remembers it when that fails by its own fault.
func (s *Service) attempt(ctx context.Context, commit gitrepo.Hash, o order) (switched bool, outcome Outcome, err error) {
	switched, err = s.deploy(ctx, commit, o)
	s.faults.note(commit.String(), s.cfg.settings(), err)
	if err == nil {
		return switched, Deployed, nil
	}
	if errors.Is(err, gitrepo.ErrDamaged) {
		return switched, Failed, errors.Join(err, s.rebuild(err)) // the next poll fetches
	}
	if isVerdict(err) {
		v := &Verdict{Commit: commit.String(), Settings: s.cfg.settings(), At: time.Now(), Error: err.Error()}
		err = errors.Join(err, s.update(func(st *State) { st.Verdict = v }))
	}
	return switched, Failed, err
}

// fetchTries bounds how often a fetch is begun anew.
const fetchTries = 3

// fetch brings the branch's head here, if it moved. That a remote sends
// something now and then is not enough: no other change runs meanwhile.
func (s *Service) fetch(ctx context.Context) (gitrepo.Hash, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	for try := 1; ; try++ {
		head, err := s.fetchOnce(ctx)
		switch {
		case err == nil || ctx.Err() != nil || try == fetchTries:
			return head, err
		case errors.Is(err, gitrepo.ErrMoved):
			// Somebody pushed since the look.
		case errors.Is(err, gitrepo.ErrDamaged), errors.Is(err, fs.ErrNotExist):
			if err := s.rebuild(err); err != nil {
				return head, err
			}
		default:
			return head, err
		}
	}
}

// rebuild begins the repository anew: it is damaged, or somebody removed it.
func (s *Service) rebuild(reason error) error {
	s.log.Warn("rebuilding the git repository", "reason", reason)
	return s.repo.Rebuild()
}

func (s *Service) fetchOnce(ctx context.Context) (gitrepo.Hash, error) {
	remote, err := s.repo.Look(ctx)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if head, ok := s.repo.Head(); ok && head == remote {
		return head, nil
	}
	s.setActivity("fetch " + short(remote))
	if err := s.repo.Fetch(ctx, remote); err != nil {
		return plumbing.ZeroHash, err
	}
	s.log.Info("fetched", "commit", short(remote))
	s.changed()
	return remote, nil
}

// GitPull fetches the branch.
func (s *Service) GitPull(ctx context.Context, out compose.Output) error {
	head, err := s.fetch(ctx)
	s.ended("", err)
	if err != nil {
		return err
	}
	info, err := s.repo.Commit(head)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out.Stdout, "%s %s\n", short(head), info.Subject)
	return nil
}

// fetched is the head that operations work on.
func (s *Service) fetched() (gitrepo.Hash, error) {
	head, ok := s.repo.Head()
	if !ok {
		return head, ErrNothingFetched
	}
	return head, nil
}

// Up deploys the fetched commit and ends a Down. Where there is nothing new it
// starts what is missing or stopped. Named compose services alone are started
// as they are deployed.
func (s *Service) Up(ctx context.Context, by string, args target.Args, out compose.Output) error {
	if err := s.usable(); err != nil {
		return err
	}
	if len(args.Services) > 0 {
		return s.upSome(ctx, args, out)
	}
	head, err := s.fetched()
	if err != nil {
		return err
	}
	if err := s.update(func(st *State) { st.Wanted, s.isDown = Up, false }); err != nil {
		return err
	}
	o := order{
		trigger: "up by " + by,
		told:    true,
		force:   args.Has("--force-recreate"),
		build:   args.Has("--build"),
		pull:    args.Value("--pull"),
		out:     out,
	}
	if o.pull == "" {
		o.pull = "missing"
	}
	switched, outcome, err := s.attempt(ctx, head, o)
	if err == nil && !switched {
		err = s.startMissing(ctx, out)
	}
	s.ended(outcome, err)
	return err
}

// upSome starts some compose services of what is deployed, with what they need.
func (s *Service) upSome(ctx context.Context, args target.Args, out compose.Output) error {
	state := s.snapshot()
	if state.Deployed == nil || state.Switching != "" {
		return ErrNothingDeployed
	}
	if err := s.update(func(st *State) { st.Wanted, s.isDown = Up, false }); err != nil {
		return err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	err := s.startSome(ctx, args, out)
	s.ended("", err)
	return err
}

func (s *Service) startSome(ctx context.Context, args target.Args, out compose.Output) (err error) {
	if args.Services, err = s.withNeeds(ctx, args.Services); err != nil {
		return err
	}
	up := []string{"up", "--detach", "--no-deps"}
	if !args.Has("--pull") {
		up = append(up, "--pull", "never")
	}
	return s.onDeployed(ctx, out, append(up, args.Words()...)...)
}

// startMissing starts what does not run and has not done its work either: a
// job that ended with 0 is not run again.
func (s *Service) startMissing(ctx context.Context, out compose.Output) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	containers, err := s.containers(ctx)
	if err != nil {
		return err
	}
	if len(containers) == 0 {
		return s.startDeployed(ctx, out)
	}
	model, err := s.loadDeployed()
	if err != nil {
		return err
	}
	services := unfinished(model, containers)
	if len(services) == 0 {
		say(out, "up to date: there is nothing to start")
		return nil
	}
	return s.startDeployed(ctx, out, append([]string{"--no-deps"}, services...)...)
}

// startDeployed starts what is deployed. Until that has worked it counts as a
// switch that has not ended, so that the next poll goes on with it.
func (s *Service) startDeployed(ctx context.Context, out compose.Output, args ...string) error {
	if err := s.update(func(st *State) { st.Switching = st.Deployed.Commit }); err != nil {
		return err
	}
	if err := s.start(ctx, out, args...); err != nil {
		return err
	}
	return s.update(func(st *State) { st.Switching = "" })
}

// start starts what is deployed, with the images that are there.
func (s *Service) start(ctx context.Context, out compose.Output, args ...string) error {
	return s.onDeployed(ctx, out, append([]string{"up", "--detach", "--remove-orphans", "--no-build", "--pull", "never"}, args...)...)
}

// Down takes the service down and keeps it down.
func (s *Service) Down(ctx context.Context, args target.Args, out compose.Output) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.update(func(st *State) { st.Wanted, s.isDown = Down, false }); err != nil {
		return err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	s.setActivity("down")
	err := s.takeDown(ctx, out, args.Words()...)
	s.ended(TakenDown, err)
	return err
}

func (s *Service) takeDown(ctx context.Context, out compose.Output, flags ...string) error {
	if err := s.onDeployed(ctx, out, append([]string{"down", "--remove-orphans"}, flags...)...); err != nil {
		return &stepError{"take down", s.cfg.Name, err}
	}
	s.isDown = true
	return s.update(func(st *State) {
		if st.Switching != "" {
			// Nothing runs now, and what was half done is not deployed.
			st.Switching, st.Deployed = "", nil
		}
	})
}

// Pull fetches the branch and pulls the images of its head. What runs stays.
func (s *Service) Pull(ctx context.Context, args target.Args, out compose.Output) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	err := s.pullHead(ctx, args, out)
	s.ended("", err)
	return err
}

func (s *Service) pullHead(ctx context.Context, args target.Args, out compose.Output) error {
	head, err := s.fetch(ctx)
	if err != nil {
		return err
	}
	c, err := s.stageAndResolve(ctx, head)
	if err != nil {
		return err
	}
	say(out, "fetched %s", short(head))
	return s.pull(ctx, c, out, args.Words()...)
}

// Build builds the images of the fetched commit. What runs stays.
func (s *Service) Build(ctx context.Context, args target.Args, out compose.Output) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	err := s.buildHead(ctx, args, out)
	s.ended("", err)
	return err
}

func (s *Service) buildHead(ctx context.Context, args target.Args, out compose.Output) error {
	head, err := s.fetched()
	if err != nil {
		return err
	}
	c, err := s.stageAndResolve(ctx, head)
	if err != nil {
		return err
	}
	return s.build(ctx, c, out, args.Words()...)
}
