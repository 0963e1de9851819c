package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// interrupted is why a context ends: somebody wants pgoctl to stop.
type interrupted syscall.Signal

func (i interrupted) Error() string { return syscall.Signal(i).String() }

// exitCode returns what a shell shows for a program that the signal has ended.
func (i interrupted) exitCode() int { return 128 + int(i) }

// catchSignals sends the signals that ask for an end to the channel. One that was ignored from
// the beginning, as under nohup, stays ignored.
func catchSignals() <-chan os.Signal {
	received := make(chan os.Signal, 8)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(received, s)
		}
	}
	// A pipe that nobody reads any more becomes an error of the writer, so that the terminal is
	// restored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return received
}

// signals is what they do to a run: the first one ends it, and a second one does so at once.
type signals struct {
	stop context.CancelCauseFunc // ends the run
	die  func(code int)          // ends it at once

	mu      sync.Mutex // guards what follows
	taker   func(syscall.Signal)
	stopped bool
}

// serve acts on received signals.
func (s *signals) serve(received <-chan os.Signal) {
	for r := range received {
		if number, ok := r.(syscall.Signal); ok {
			s.next(number)
		}
	}
}

func (s *signals) next(number syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch taker := s.taker; {
	case taker != nil:
		s.taker = nil
		go taker(number) // it may have to wait for a connection that is stuck
	case !s.stopped:
		s.stopped = true
		s.stop(interrupted(number))
	default:
		s.die(interrupted(number).exitCode())
	}
}

// divert sends the next signal to a command on the host instead, until the returned function is
// called.
func (s *signals) divert(taker func(syscall.Signal)) (back func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taker = taker
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.taker = nil
	}
}
