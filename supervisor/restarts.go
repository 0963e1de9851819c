package supervisor

import (
	"time"

	exponential "pgo/internal/backoff" // backoff is a state here
)

// The numbers of a worker's restarts.
const (
	healthy = time.Minute // a worker that lived this long starts the delays over

	loopWindow = time.Minute
	loopExits  = 5 // as many exits in the window are a crash loop
)

var restartDelays = exponential.Delays{First: 100 * time.Millisecond, Last: 30 * time.Second, Jitter: 0.2}

// restarts is one service's own budget: how often its worker ended, and how
// long to wait before it is started again.
type restarts struct {
	total    int
	failures exponential.Failures
	recent   []time.Time // exits within loopWindow
}

// next counts an exit of a worker that lived for so long, and returns the delay
// before the next start.
func (r *restarts) next(lived time.Duration) time.Duration {
	r.total++
	now := time.Now()
	r.recent = append(r.recent, now)
	for len(r.recent) > loopExits || now.Sub(r.recent[0]) > loopWindow {
		r.recent = r.recent[1:]
	}
	if lived >= healthy {
		r.failures.Reset()
	}
	return r.failures.Next(restartDelays)
}

// forget starts the delays over: an operator knows better.
func (r *restarts) forget() {
	r.total++
	r.failures.Reset()
}

// restartCount is what is shown of restarts.
type restartCount struct {
	total  int
	recent []time.Time
}

func (r *restarts) count() restartCount {
	return restartCount{total: r.total, recent: append([]time.Time(nil), r.recent...)}
}

// crashloop tells whether the worker ends again and again.
func (c restartCount) crashloop(now time.Time) bool {
	return len(c.recent) >= loopExits && now.Sub(c.recent[0]) <= loopWindow
}
