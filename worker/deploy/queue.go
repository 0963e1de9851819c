package deploy

import (
	"context"
	"errors"
	"sync"
)

// ErrDraining refuses a change while the worker comes to its end.
var ErrDraining = errors.New("the worker is stopping and takes no further changes: try again in a moment")

// Queue lets one change run at a time, the others in the order in which they
// came.
type Queue struct {
	turn   chan struct{} // holds one token while nothing runs
	closed chan struct{} // closed by the first Drain
	once   sync.Once

	mu      sync.Mutex
	running string // what runs, in words
}

// NewQueue returns a queue in which nobody waits.
func NewQueue() *Queue {
	q := &Queue{turn: make(chan struct{}, 1), closed: make(chan struct{})}
	q.turn <- struct{}{}
	return q
}

// Turn is the right to change a service, and all that changes one. Only the queue gives
// it, to one change at a time, and takes it back when that has ended: to use it then, or
// one that was made otherwise, is a fault in the program and panics.
type Turn struct{ *deployer }

// do runs change when its turn comes. If that is not at once, it first tells
// waiting what for. ctx bounds the wait, not the change.
func (q *Queue) do(ctx context.Context, d *deployer, name string, waiting func(running string), change func(*Turn) error) error {
	select {
	case <-q.closed:
		return ErrDraining
	default:
	}
	select {
	case <-q.turn:
	default:
		waiting(q.what())
		select {
		case <-q.turn:
		case <-q.closed:
			return ErrDraining
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	defer func() { q.turn <- struct{}{} }()
	select {
	case <-q.closed: // both were ready, and select chose the turn
		return ErrDraining
	default:
	}
	q.set(name)
	defer q.set("")
	t := &Turn{d}
	defer func() { t.deployer = nil }()
	return change(t)
}

// Draining is closed once no further changes are taken.
func (q *Queue) Draining() <-chan struct{} { return q.closed }

// Drain refuses all further changes and waits for the one that runs.
func (q *Queue) Drain(ctx context.Context) error {
	q.once.Do(func() { close(q.closed) })
	select {
	case <-q.turn:
		q.turn <- struct{}{}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (q *Queue) set(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running = name
}

func (q *Queue) what() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running == "" {
		return "another change"
	}
	return q.running
}
