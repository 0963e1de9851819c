package deploy

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// Status is the status of a Service.
type Status struct {
	Wanted     Wanted
	Head       gitrepo.Hash // the fetched commit
	Deployed   gitrepo.Hash
	DeployedAt time.Time
	Trigger    string // who or what asked for what runs
	Reason     string // why what runs was deployed
	Activity   string // the current step, or Idle
	Outcome    Outcome
	Error      string   // of the last check, fetch or deploy; empty: all is well
	Details    []string // of the error
	ErrorSince time.Time
	Frozen     *Frozen
	Pin        *Pin
	EngineAway string                  // why nobody knows what runs, and since when; empty: the engine answers
	AwaySince  time.Time               // when the engine was first found not to answer
	Unwell     []string                // containers that are not as they should be, and how
	Ports      []compose.Published     // host ports that its running containers have
	OnHost     []compose.HostContainer // running containers that may listen at host ports themselves
	Warnings   []string                // what works, or could work, and should be changed
	Snippet    *Snippet                // nil: the service is not a reverse proxy

	Switched     map[string]map[string]string // for a reverse proxy: service → target → the container that answers
	CannotSwitch string                       // for a reverse proxy: why it does not act on switches
	Switches     map[string]string            // what the proxies are asked to act on
	Ways         []Way                        // how each compose service is replaced, if some start first
	Unswitched   string                       // why no proxy sends requests to a container of its own during a deploy; empty: it does
}

// Idle is the activity between two changes.
const Idle = "idle"

// Outcome is the result of a deploy or poll.
type Outcome string

const (
	Deployed   Outcome = "deployed"
	Held       Outcome = "held"     // there is something new, and nobody has run up
	KeptFrozen Outcome = "frozen"   // the branch is not followed
	TakenDown  Outcome = "down"     // somebody ran down
	Refused    Outcome = "refused"  // by the policy: what ran keeps running
	Failed     Outcome = "failed"   // before the switch, or by a fault of the surroundings
	Degraded   Outcome = "degraded" // it did not become healthy
)

// board has the part of the status that is not saved: what is going on, and what went wrong
// last.
type board struct {
	onStep  func(Step) // may be nil
	changed func()

	mu        sync.Mutex // guards status, which changes write and everybody reads
	status    Status
	unfetched string // the error of a refresh that is shown; empty: there is none
}

// newBoard returns the board as an earlier worker would have left it.
func newBoard(state State, head gitrepo.Hash, onStep func(Step), changed func()) *board {
	b := &board{onStep: onStep, changed: changed, status: Status{Activity: Idle}}
	if state.Deployed != nil {
		b.status.Outcome = Deployed
	}
	if v := state.Verdict; v != nil && (v.Commit == head || head.IsZero()) {
		b.status.Outcome, b.status.Error, b.status.Details, b.status.ErrorSince = v.Outcome, v.Error, v.Details, v.At
	}
	return b
}

func (b *board) get() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

// edit changes the status.
func (b *board) edit(change func(*Status)) {
	b.mu.Lock()
	change(&b.status)
	b.mu.Unlock()
	b.changed()
}

func (b *board) setActivity(activity string) { b.edit(func(s *Status) { s.Activity = activity }) }

// idle records the end of a change that says nothing about what runs: whoever asked for it
// was told how it ended.
func (b *board) idle() { b.setActivity(Idle) }

// enter announces that a step begins, to whoever reads the status and to a test.
func (b *board) enter(step Step, commit gitrepo.Hash) {
	b.setActivity(string(step) + " " + commit.Short())
	if b.onStep != nil {
		b.onStep(step)
	}
}

// ended records how a poll or a change ended; outcome is empty if it was not about what
// runs. What was interrupted because the worker ends says nothing about the service.
func (b *board) ended(outcome Outcome, err error) {
	broken := errors.Is(err, context.Canceled)
	if outcome != "" && err != nil && outcome != Refused && outcome != Degraded {
		outcome = Failed // though part of it may have worked
	}
	b.edit(func(s *Status) {
		s.Activity = Idle
		if outcome != "" && !broken {
			s.Outcome = outcome
		}
		switch {
		case broken:
		case err == nil:
			s.Error, s.Details, s.ErrorSince = "", nil, time.Time{}
		default:
			var told Record
			if told.fail(err); s.Error != told.Error {
				s.Error, s.Details, s.ErrorSince = told.Error, told.Details, time.Now()
			}
		}
	})
}

// refreshed records how a fetch during a change ended, and reports whether there is something
// new to show. The end of the change replaces it.
func (b *board) refreshed(err error) (news bool) {
	b.edit(func(s *Status) {
		if s.Error != "" && s.Error != b.unfetched {
			return // of what was there before, and what the change may be about
		}
		if err == nil {
			s.Error, s.Details, s.ErrorSince, b.unfetched = "", nil, time.Time{}, ""
			return
		}
		var told Record
		if told.fail(err); s.Error != told.Error {
			s.Error, s.Details, s.ErrorSince, news = told.Error, told.Details, time.Now(), true
		}
		b.unfetched = s.Error
	})
	return news
}

// setUnwell records which containers are not as they should be.
func (b *board) setUnwell(unwell []string) {
	if !slices.Equal(b.get().Unwell, unwell) {
		b.edit(func(s *Status) { s.Unwell = unwell })
	}
}

// setPorts records which host ports are in use.
func (b *board) setPorts(ports []compose.Published, onHost []compose.HostContainer) {
	if now := b.get(); !slices.Equal(now.Ports, ports) || !slices.Equal(now.OnHost, onHost) {
		b.edit(func(s *Status) { s.Ports, s.OnHost = ports, onHost })
	}
}

// setSwitched records what a proxy acts on.
func (b *board) setSwitched(switched map[string]map[string]string, cannot string) {
	same := func(a, b map[string]string) bool { return maps.Equal(a, b) }
	if now := b.get(); now.CannotSwitch != cannot || !maps.EqualFunc(now.Switched, switched, same) {
		b.edit(func(s *Status) { s.Switched, s.CannotSwitch = switched, cannot })
	}
}

// setWarnings records what should be changed, and returns the warnings that are new.
func (b *board) setWarnings(warnings []string) (news []string) {
	before := b.get().Warnings
	if slices.Equal(before, warnings) {
		return nil
	}
	b.edit(func(s *Status) { s.Warnings = warnings })
	return slices.DeleteFunc(slices.Clone(warnings), func(w string) bool { return slices.Contains(before, w) })
}
