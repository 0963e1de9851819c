package hoststat

// State is how a service is doing, in one word.
type State string

// The states, the most pressing first: a service is in the first one that is true of it.
const (
	Crashloop State = "crashloop" // its worker ends again and again
	NoWorker  State = "no-worker" // its worker is down, and will be started again
	Deploying State = "deploying" // a commit is being deployed, or something else is changed
	Unwell    State = "unwell"    // a container is not as it should be
	Degraded  State = "degraded"  // a commit did not become healthy
	Failed    State = "failed"    // a commit could not be deployed, or nothing could ever be fetched
	Refused   State = "refused"   // the policy refuses a commit: what ran runs on
	Down      State = "down"      // somebody said down
	Frozen    State = "frozen"    // somebody said freeze: the branch is not followed
	Held      State = "held"      // there is a newer commit, and nobody has said up
	Stale     State = "stale"     // it runs, but whether there is something newer cannot be found out
	Running   State = "running"   // the branch's head runs
	Starting  State = "starting"  // nothing is known yet
)

// States returns all of them, in their order.
func States() []State {
	return []State{Crashloop, NoWorker, Deploying, Unwell, Degraded, Failed, Refused, Down, Frozen, Held, Stale, Running, Starting}
}

// Cell is the state in a table.
func (s State) Cell() Cell { return Cell{Text: string(s), Level: s.Level()} }

// WorkerState is where a worker is in its life.
type WorkerState string

// The states of a worker.
const (
	WorkerStarting WorkerState = "starting" // launched, not ready yet
	WorkerReady    WorkerState = "ready"
	WorkerDraining WorkerState = "draining" // asked to end; a change may run on
	WorkerKilling  WorkerState = "killing"  // signalled, not gone yet
	WorkerBackoff  WorkerState = "backoff"  // not there; started again after a while
	WorkerStopped  WorkerState = "stopped"  // gone for good
)

// WorkerStates returns all of them, in their order.
func WorkerStates() []WorkerState {
	return []WorkerState{WorkerStarting, WorkerReady, WorkerDraining, WorkerKilling, WorkerBackoff, WorkerStopped}
}

// Wanted is what somebody said last.
type Wanted string

// What can be wanted.
const (
	WantedUp   Wanted = "up"
	WantedDown Wanted = "down"
)

// Outcome is what a deploy or a poll came to.
type Outcome string

// The outcomes.
const (
	OutcomeDeployed Outcome = "deployed" // it runs, and was healthy
	OutcomeHeld     Outcome = "held"     // there is something new, and ignore or a pin holds it
	OutcomeFrozen   Outcome = "frozen"   // the branch is not followed
	OutcomeDown     Outcome = "down"     // somebody said down
	OutcomeRefused  Outcome = "refused"  // the policy refuses it: what ran runs on
	OutcomeFailed   Outcome = "failed"   // it did not get as far as running, or something around it failed
	OutcomeDegraded Outcome = "degraded" // it did not become healthy
)

// Outcomes returns all of them, in their order.
func Outcomes() []Outcome {
	return []Outcome{OutcomeDeployed, OutcomeHeld, OutcomeFrozen, OutcomeDown, OutcomeRefused, OutcomeFailed, OutcomeDegraded}
}

// Bad reports whether the outcome is that of a deploy that did not work.
func (o Outcome) Bad() bool {
	return o == OutcomeRefused || o == OutcomeFailed || o == OutcomeDegraded
}

// Idle is the activity of a worker that changes nothing. Any other is the step of a change.
const Idle = "idle"

// Level is how much of somebody's attention something wants.
type Level int

// The levels, and the colours in which they are shown.
const (
	Plain  Level = iota // no colour
	Fine                // green
	Notice              // yellow: as somebody wants it, or it passes
	Bad                 // red: somebody should look
)

// Level is the state's. One that this build does not know has none.
func (s State) Level() Level {
	switch s {
	case Running:
		return Fine
	case Starting, Deploying, Down, Frozen, Held, Stale:
		return Notice
	case Crashloop, NoWorker, Unwell, Degraded, Failed, Refused:
		return Bad
	}
	return Plain
}

// Level is the worker's.
func (w Worker) Level() Level {
	switch {
	case w.Crashloop:
		return Bad
	case w.State == WorkerReady:
		return Fine
	case w.State == WorkerStarting, w.State == WorkerDraining:
		return Notice
	}
	return Bad
}

// Paint returns the text in the level's colour, for a terminal.
func (l Level) Paint(text string) string {
	code := map[Level]string{Fine: "32", Notice: "33", Bad: "31"}[l]
	if code == "" || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
