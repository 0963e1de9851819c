package worker

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func never(string) {}

// One change at a time; who waits is told for what.
func TestQueueOneAtATime(t *testing.T) {
	q := newQueue()
	begun, finish := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = q.do(context.Background(), "up by miek", never, func() error {
			close(begun)
			<-finish
			return nil
		})
	})
	<-begun
	told := make(chan string, 1)
	second := errors.New("of the second")
	wg.Go(func() {
		err := q.do(context.Background(), "down", func(running string) { told <- running }, func() error {
			select {
			case <-finish:
			default:
				t.Error("the second change runs beside the first")
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
	q := newQueue()
	err := q.do(context.Background(), "first", never, func() error {
		ctx, cancel := context.WithCancel(context.Background())
		return q.do(ctx, "second", func(string) { cancel() }, func() error {
			t.Error("runs though its client has left")
			return nil
		})
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestDrain(t *testing.T) {
	q := newQueue()
	begun, finish := make(chan struct{}), make(chan struct{})
	go func() {
		_ = q.do(context.Background(), "up", never, func() error {
			close(begun)
			<-finish
			return nil
		})
	}()
	<-begun
	waiting := make(chan struct{})
	refused := make(chan error)
	go func() {
		refused <- q.do(context.Background(), "down", func(string) { close(waiting) }, func() error { return nil })
	}()
	<-waiting
	short, cancel := context.WithCancel(context.Background())
	cancel()
	if err := q.drain(short); !errors.Is(err, context.Canceled) {
		t.Errorf("drain returned %v while a change runs", err)
	}
	if err := <-refused; !errors.Is(err, errDraining) {
		t.Errorf("a waiting change got %v", err)
	}
	close(finish)
	if err := q.drain(context.Background()); err != nil {
		t.Error(err)
	}
	if err := q.do(context.Background(), "up", never, func() error { return nil }); !errors.Is(err, errDraining) {
		t.Errorf("a new change got %v", err)
	}
}
