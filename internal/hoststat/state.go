package hoststat

// State is how a service is doing, in one word.
type State string

// The states, the most urgent first: a service is in the first one that applies.
const (
	Crashloop State = "crashloop" // its worker keeps ending
	NoWorker  State = "no-worker" // its worker is down, and will be started again
	Deploying State = "deploying" // a commit is being deployed, or another change is in progress
	Unwell    State = "unwell"    // a container is not as it should be
	Degraded  State = "degraded"  // a commit did not become healthy
	Failed    State = "failed"    // a commit could not be deployed, or no fetch has ever succeeded
	Refused   State = "refused"   // the policy refuses a commit: the deployed one keeps running
	Down      State = "down"      // it was taken down
	Frozen    State = "frozen"    // it was frozen: the branch is not followed
	Held      State = "held"      // there is a newer commit, which waits for up
	Stale     State = "stale"     // it runs, but pgo cannot find out whether there is a newer commit
	Running   State = "running"   // the head of the branch is running
	Starting  State = "starting"  // nothing is known yet
)

// States returns all states, in that order.
func States() []State {
	return []State{Crashloop, NoWorker, Deploying, Unwell, Degraded, Failed, Refused, Down, Frozen, Held, Stale, Running, Starting}
}

// Cell returns the state for a table.
func (s State) Cell() Cell { return Cell{Text: string(s), Level: s.Level()} }

// WorkerState is where a worker is in its life cycle.
type WorkerState string

// The states of a worker.
const (
	WorkerStarting WorkerState = "starting" // launched, not ready yet
	WorkerReady    WorkerState = "ready"
	WorkerDraining WorkerState = "draining" // asked to end; a change may still be running
	WorkerKilling  WorkerState = "killing"  // signalled, not gone yet
	WorkerBackoff  WorkerState = "backoff"  // ended; started again after a while
	WorkerStopped  WorkerState = "stopped"  // gone for good
)

// WorkerStates returns all states of a worker, in that order.
func WorkerStates() []WorkerState {
	return []WorkerState{WorkerStarting, WorkerReady, WorkerDraining, WorkerKilling, WorkerBackoff, WorkerStopped}
}

// Wanted says what was asked for last.
type Wanted string

// What can be asked for.
const (
	WantedUp   Wanted = "up"
	WantedDown Wanted = "down"
)

// Outcome is the result of a deploy or a poll.
type Outcome string

// The outcomes.
const (
	OutcomeDeployed Outcome = "deployed" // it runs, and was healthy
	OutcomeHeld     Outcome = "held"     // there is a new commit, held back by ignore or a pin
	OutcomeFrozen   Outcome = "frozen"   // the branch is not followed
	OutcomeDown     Outcome = "down"     // it was taken down
	OutcomeRefused  Outcome = "refused"  // the policy refuses it: the deployed commit keeps running
	OutcomeFailed   Outcome = "failed"   // it did not get to run, or the surroundings had a fault
	OutcomeDegraded Outcome = "degraded" // it did not become healthy
)

// Outcomes returns all outcomes, in that order.
func Outcomes() []Outcome {
	return []Outcome{OutcomeDeployed, OutcomeHeld, OutcomeFrozen, OutcomeDown, OutcomeRefused, OutcomeFailed, OutcomeDegraded}
}

// Bad reports whether the outcome is that of an unsuccessful deploy.
func (o Outcome) Bad() bool {
	return o == OutcomeRefused || o == OutcomeFailed || o == OutcomeDegraded
}

// Idle is the activity of a worker that changes nothing. Any other activity is the step of a change.
const Idle = "idle"

// Level is how much attention something needs.
type Level int

// The levels, and the colours in which they are shown.
const (
	Plain  Level = iota // no colour
	Fine                // green
	Notice              // yellow: it is wanted, or it will pass
	Bad                 // red: somebody should look
)

// Level returns the state's level: Plain if this build does not know the state.
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

// Level returns the worker's level.
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
