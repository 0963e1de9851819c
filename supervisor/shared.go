package supervisor

import (
	"context"
	"sync"
)

// shared answers questions whose answers cost something, such as starting a program. Whoever asks
// what others ask at the same time gets one answer with them. No answer is older than its question:
// one that is being found out already may be from before a change that the question is about, so
// that all who ask meanwhile get the next one.
type shared[T any] struct {
	mu      sync.Mutex
	running map[string]*answer[T] // by question
	next    map[string]*answer[T] // will be found out when the running one is there
}

// answer is an answer, and an error, that is there when done is closed.
type answer[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// ask returns what find returns, which is one and the same for everybody with this question. find
// gets a context that does not end with the caller's.
func (s *shared[T]) ask(ctx context.Context, question string, find func(context.Context) (T, error)) (T, error) {
	a := s.join(question, func() (T, error) { return find(context.WithoutCancel(ctx)) })
	select {
	case <-a.done:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// join returns the next answer, which is found out at once if none is being found out.
func (s *shared[T]) join(question string, find func() (T, error)) *answer[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		s.running, s.next = map[string]*answer[T]{}, map[string]*answer[T]{}
	}
	if a := s.next[question]; a != nil {
		return a
	}
	a, before := &answer[T]{done: make(chan struct{})}, s.running[question]
	if before == nil {
		s.running[question] = a
	} else {
		s.next[question] = a
	}
	go func() {
		if before != nil {
			<-before.done
			s.begin(question, a)
		}
		a.value, a.err = find()
		s.end(question, a)
	}()
	return a
}

// begin makes the next answer the running one: nobody joins it any more.
func (s *shared[T]) begin(question string, a *answer[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.next, question)
	s.running[question] = a
}

func (s *shared[T]) end(question string, a *answer[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next[question] == nil {
		delete(s.running, question)
	}
	close(a.done)
}
