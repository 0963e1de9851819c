package supervisor

import (
	"time"

	"pgo/internal/hoststat"
	"pgo/internal/printable"
)

// outcomes are what a worker may say that a deploy or poll came to, and the state
// that it is where nothing else is more pressing.
var outcomes = map[string]hoststat.State{
	"deployed": hoststat.Running,
	"held":     hoststat.Held,
	"frozen":   hoststat.Frozen,
	"down":     hoststat.Down,
	"refused":  hoststat.Refused,
	"failed":   hoststat.Failed,
	"degraded": hoststat.Degraded,
}

// idle is the activity of a worker that has nothing to do.
const idle = "idle"

// condition is how the service is doing, in one word.
func (s snapshot) condition(now time.Time) hoststat.State {
	report := s.report
	of, known := outcomes[report.GetOutcome()]
	switch {
	case s.restarts.crashloop(now):
		return hoststat.Crashloop
	case s.state == backoff, s.state == killing, s.state == stopped:
		return hoststat.NoWorker
	case report.GetActivity() != "" && report.GetActivity() != idle:
		return hoststat.Deploying
	case len(report.GetUnwell()) > 0:
		return hoststat.Unwell
	case of.Level() == hoststat.Bad:
		return of
	case report.GetWanted() == "down":
		return hoststat.Down
	case report.GetError() != "" && report.GetDeployed() == "":
		return hoststat.Failed
	case report.GetFrozen() != "":
		return hoststat.Frozen
	case of == hoststat.Held:
		return of
	case report.GetError() != "":
		return hoststat.Stale
	case known && report.GetDeployed() != "":
		return hoststat.Running
	}
	return hoststat.Starting
}

// trouble is why the condition is as it is, on one line, and since when as far as
// that is known; empty: all is well.
func (s snapshot) trouble() (text string, since time.Time) {
	if s.err != nil {
		return "the worker is down: " + printable.Line(s.err.Error()), time.Time{}
	}
	if text := s.report.GetError(); text != "" {
		return printable.Line(text), moment(s.report.GetErrorSince())
	}
	if unwell := s.report.GetUnwell(); len(unwell) > 0 {
		return printable.Line(unwell[0]), time.Time{}
	}
	if warnings := s.report.GetWarnings(); len(warnings) > 0 {
		return "warning: " + printable.Line(warnings[0]), time.Time{}
	}
	return "", time.Time{}
}

// hostWorker is the worker's process, for the host's tables.
func (s snapshot) hostWorker(now time.Time) hoststat.Worker {
	w := hoststat.Worker{State: string(s.state), Restarts: s.restarts.total, Crashloop: s.restarts.crashloop(now)}
	if s.process != nil {
		w.PID = s.process.pid()
	}
	return w
}
