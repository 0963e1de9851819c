package deploy

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func never(string) {}

// One change runs at a time; whoever waits is told for what.
func TestQueueOneAtATime(t *testing.T) {
	q := NewQueue()
	begun, finish := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = q.do(context.Background(), nil, "up by miek", never, func(*Turn) error {
			close(begun)
			<-finish
			return nil
		})
	})
	<-begun
	told := make(chan string, 1)
	second := errors.New("of the second")
	wg.Go(func() {
		err := q.do(context.Background(), nil, "down", func(running string) { told <- running }, func(*Turn) error {
			select {
			case <-finish:
			default:
				t.Error("the second change runs at the same time as the first")
			}
			return second
		})
		if !errors.Is(err, second) {
			t.Errorf("error %v", err)
		}
	})
	if got := <-told; got != "up by miek" {
		t.Errorf("waiting for %q", got)
	}
	close(finish)
	wg.Wait()
}

func TestQueueWaitEndsWithTheClient(t *testing.T) {
	q := NewQueue()
	err := q.do(context.Background(), nil, "first", never, func(*Turn) error {
		ctx, cancel := context.WithCancel(context.Background())
		return q.do(ctx, nil, "second", func(string) { cancel() }, func(*Turn) error {
			t.Error("it runs although its client has left")
			return nil
		})
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestDrain(t *testing.T) {
	q := NewQueue()
	begun, finish := make(chan struct{}), make(chan struct{})
	go func() {
		_ = q.do(context.Background(), nil, "up", never, func(*Turn) error {
			close(begun)
			<-finish
			return nil
		})
	}()
	<-begun
	waiting := make(chan struct{})
	refused := make(chan error)
	go func() {
		refused <- q.do(context.Background(), nil, "down", func(string) { close(waiting) }, func(*Turn) error { return nil })
	}()
	<-waiting
	short, cancel := context.WithCancel(context.Background())
	cancel()
	if err := q.Drain(short); !errors.Is(err, context.Canceled) {
		t.Errorf("drain returned %v while a change runs", err)
	}
	if err := <-refused; !errors.Is(err, ErrDraining) {
		t.Errorf("a waiting change got %v", err)
	}
	close(finish)
	if err := q.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	if err := q.do(context.Background(), nil, "up", never, func(*Turn) error { return nil }); !errors.Is(err, ErrDraining) {
		t.Errorf("a new change got %v", err)
	}
}
