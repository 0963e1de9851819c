package sshd

import (
	"sync"
	"time"
)

// The maximum number of log lines in a period for what strangers can cause at will.
const (
	rationLines  = 10
	rationPeriod = 10 * time.Second
)

// ration keeps one event from filling a log. What is left out is counted.
type ration struct {
	mu      sync.Mutex // guards what follows
	lines   int        // in this period; 0: none has begun
	leftOut int
}

// allows reports whether the event is to be logged. If any are left out, it calls more with their
// number when the period is over.
func (r *ration) allows(more func(leftOut int)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lines == rationLines {
		r.leftOut++
		return false
	}
	if r.lines == 0 {
		time.AfterFunc(rationPeriod, func() {
			if n := r.reset(); n > 0 {
				more(n)
			}
		})
	}
	r.lines++
	return true
}

func (r *ration) reset() (leftOut int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	leftOut = r.leftOut
	r.lines, r.leftOut = 0, 0
	return leftOut
}
