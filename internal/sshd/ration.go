package sshd

import (
	"sync"
	"time"
)

// What strangers can bring about at will is logged in so many lines in so long a time.
const (
	rationLines  = 10
	rationPeriod = 10 * time.Second
)

// ration keeps a log from being filled with one event. What is left out is counted.
type ration struct {
	mu      sync.Mutex // guards what follows
	lines   int        // in this period; 0: none has begun
	leftOut int
}

// allows reports whether the event is to be logged. If any are left out, more is called with
// their number when the period is over.
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
