package deploy

import (
	"context"
	"errors"
	"sync"
)

// ErrDraining refuses a change while the worker is stopping.
var ErrDraining = errors.New("the worker is stopping and accepts no further changes: try again in a moment")

// Queue runs one change at a time, in the order in which they came.
type Queue struct {
	turn   chan struct{} // holds one token while nothing runs
	closed chan struct{} // closed by the first Drain
	once   sync.Once

	mu      sync.Mutex
	running string // a description of what runs
}

// NewQueue returns an empty queue.
func NewQueue() *Queue {
	q := &Queue{turn: make(chan struct{}, 1), closed: make(chan struct{})}
	q.turn <- struct{}{}
	return q
}

// Turn is the right to change a service, and has everything that changes one. Only the
// queue gives it, to one change at a time, and takes it back when that change has ended.
// Using it afterwards, or using one that was made otherwise, is a bug and panics.
type Turn struct{ *deployer }

// do runs change when its turn comes. If it has to wait, it first calls waiting with what
// it waits for. ctx bounds the wait, not the change.
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
