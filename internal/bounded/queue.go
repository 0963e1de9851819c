package bounded

import (
	"io"
	"sync"
	"time"
)

// Queue passes on what is written to it and never makes the writer wait. What the reader is too
// slow for is dropped, each write as a whole, and counted.
type Queue struct {
	out     io.Writer
	most    int       // bytes that wait
	dropped func(int) // told how many writes were dropped, once the reader is back

	mu      sync.Mutex // guards the fields below
	waiting [][]byte
	size    int // of what waits
	lost    int // writes since dropped was told
	closed  bool
	telling bool // how many were lost: that is not lost

	wake chan struct{} // holds one while there may be something to do
	done chan struct{} // closed when all is written after Close
}

// NewQueue returns a queue to out in which at most that many bytes wait. dropped may write to the
// queue. Errors of out are ignored: there is nobody to report them to.
func NewQueue(out io.Writer, most int, dropped func(writes int)) *Queue {
	q := &Queue{out: out, most: most, dropped: dropped, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go q.pass()
	return q
}

// Write always succeeds.
func (q *Queue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.telling && (q.closed || q.size+len(p) > q.most) {
		q.lost++
		return len(p), nil
	}
	q.waiting, q.size = append(q.waiting, append([]byte(nil), p...)), q.size+len(p)
	q.signal()
	return len(p), nil
}

// Close ends the queue. It waits until everything is written, but not longer than patience.
func (q *Queue) Close(patience time.Duration) {
	q.mu.Lock()
	q.closed = true
	q.signal()
	q.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-q.done:
	case <-timer.C:
	}
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// tell reports lost writes. What it writes for that is kept, however full the queue is by now.
func (q *Queue) tell(lost int) {
	q.mu.Lock()
	q.telling = true
	q.mu.Unlock()
	q.dropped(lost)
	q.mu.Lock()
	q.telling = false
	q.mu.Unlock()
}

// pass writes until the queue is closed and empty.
func (q *Queue) pass() {
	defer close(q.done)
	for range q.wake {
		for {
			q.mu.Lock()
			batch, lost, closed := q.waiting, q.lost, q.closed
			q.waiting, q.size, q.lost = nil, 0, 0
			q.mu.Unlock()
			if len(batch) == 0 && lost == 0 {
				if closed {
					return
				}
				break
			}
			for _, p := range batch {
				_, _ = q.out.Write(p)
			}
			if lost > 0 {
				q.tell(lost)
			}
		}
	}
}
