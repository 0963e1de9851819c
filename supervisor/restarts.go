package supervisor

import (
	"math/rand/v2"
	"time"
)

// The numbers of a worker's restarts.
const (
	firstDelay = 100 * time.Millisecond
	lastDelay  = 30 * time.Second
	healthy    = time.Minute // a worker that lived this long starts the delays over

	loopWindow = time.Minute
	loopExits  = 5 // as many exits in the window are a crash loop
)

// restarts is one service's own budget: how often its worker ended, and how
// long to wait before it is started again.
type restarts struct {
	total  int
	delay  time.Duration
	recent []time.Time // exits within loopWindow
}

// next counts an exit of a worker that lived for so long, and returns the delay
// before the next start: doubled each time, spread by a fifth either way.
func (r *restarts) next(lived time.Duration) time.Duration {
	r.total++
	now := time.Now()
	r.recent = append(r.recent, now)
	for len(r.recent) > loopExits || now.Sub(r.recent[0]) > loopWindow {
		r.recent = r.recent[1:]
	}
	if r.delay = min(2*r.delay, lastDelay); r.delay == 0 || lived >= healthy {
		r.delay = firstDelay
	}
	return r.delay*4/5 + rand.N(r.delay*2/5+1)
}

// forget starts the delays over: an operator knows better.
func (r *restarts) forget() {
	r.total++
	r.delay = 0
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
