package supervisor

import (
	"time"

	exponential "pgo/internal/backoff" // backoff is a state here
)

// Limits for a worker's restarts.
const (
	healthy = time.Minute // a worker that lived this long resets the delays

	loopWindow = time.Minute
	loopExits  = 5 // this many exits in the window are a crash loop
)

var restartDelays = exponential.Delays{First: 100 * time.Millisecond, Last: 30 * time.Second, Jitter: 0.2}

// restarts tracks the restarts of one service: how often its worker ended, and how long to wait
// before it is started again.
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

// forget resets the delays: an operator knows better.
func (r *restarts) forget() {
	r.total++
	r.failures.Reset()
}

// restartCount is the part of restarts that is shown.
type restartCount struct {
	total  int
	recent []time.Time
}

func (r *restarts) count() restartCount {
	return restartCount{total: r.total, recent: append([]time.Time(nil), r.recent...)}
}

// crashloop reports whether the worker ends again and again.
func (c restartCount) crashloop(now time.Time) bool {
	return len(c.recent) >= loopExits && now.Sub(c.recent[0]) <= loopWindow
}
