package worker

import (
	"context"
	"errors"
	"sync"
)

// errDraining refuses a change while the worker comes to its end.
var errDraining = errors.New("the worker is stopping and takes no further changes: try again in a moment")

// queue lets one change run at a time, the others in the order in which they
// came.
type queue struct {
	turn   chan struct{} // holds one token while nothing runs
	closed chan struct{} // closed by the first drain
	once   sync.Once

	mu      sync.Mutex
	running string // what runs, in words
}

func newQueue() *queue {
	q := &queue{turn: make(chan struct{}, 1), closed: make(chan struct{})}
	q.turn <- struct{}{}
	return q
}

// do runs change when its turn comes. If that is not at once, it first tells
// waiting what for. ctx bounds the wait, not the change.
func (q *queue) do(ctx context.Context, name string, waiting func(running string), change func() error) error {
	select {
	case <-q.closed:
		return errDraining
	default:
	}
	select {
	case <-q.turn:
	default:
		waiting(q.what())
		select {
		case <-q.turn:
		case <-q.closed:
			return errDraining
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	defer func() { q.turn <- struct{}{} }()
	select {
	case <-q.closed: // both were ready, and select chose the turn
		return errDraining
	default:
	}
	q.set(name)
	defer q.set("")
	return change()
}

// drain refuses all further changes and waits for the one that runs.
func (q *queue) drain(ctx context.Context) error {
	q.once.Do(func() { close(q.closed) })
	select {
	case <-q.turn:
		q.turn <- struct{}{}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (q *queue) set(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running = name
}

func (q *queue) what() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running == "" {
		return "another change"
	}
	return q.running
}
