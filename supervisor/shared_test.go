package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A question that comes while its answer is being found out may be about something newer, such as a
// change of the groups of a user. It gets the next answer, with all questions until then.
func TestNoAnswerIsOlderThanItsQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shared[string]
		var mu sync.Mutex
		found := map[string]int{}
		answers := make(chan string, 100)
		ask := func(question string) {
			answer, err := s.ask(t.Context(), question, func(context.Context) (string, error) {
				mu.Lock()
				found[question]++
				n := found[question]
				mu.Unlock()
				time.Sleep(time.Second) // in the bubble's time
				return fmt.Sprint(question, n), errors.New("as it is")
			})
			if err == nil {
				t.Error("the error is lost")
			}
			answers <- answer
		}
		several := func(n int, question string) {
			for range n {
				go ask(question)
			}
			synctest.Wait()
		}
		several(1, "alice")
		several(5, "alice")
		several(1, "bob") // does not wait for alice
		time.Sleep(1500 * time.Millisecond)
		several(3, "alice") // while the second is being found out
		time.Sleep(5 * time.Second)
		several(1, "alice")
		time.Sleep(5 * time.Second)
		synctest.Wait() // for the race detector, which does not know that time puts things in order
		close(answers)
		got := map[string]int{}
		for answer := range answers {
			got[answer]++
		}
		if want := map[string]int{"alice1": 1, "alice2": 5, "alice3": 3, "alice4": 1, "bob1": 1}; !maps.Equal(got, want) {
			t.Errorf("got the answers %v, want %v", got, want)
		}
		if len(s.running)+len(s.next) != 0 {
			t.Errorf("%v and %v are kept", s.running, s.next)
		}
	})
}

// One who leaves does not take the answer from the others.
func TestOneLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shared[int]
		left := errors.New("the entry was removed")
		first, cancel := context.WithCancelCause(t.Context())
		find := func(ctx context.Context) (int, error) {
			time.Sleep(time.Second)
			return 7, ctx.Err()
		}
		results := make(chan error, 2)
		for _, ctx := range []context.Context{t.Context(), first, t.Context()} {
			go func() {
				n, err := s.ask(ctx, "alice", find)
				if err == nil && n != 7 {
					t.Errorf("got %d", n)
				}
				results <- err
			}()
			synctest.Wait()
		}
		cancel(left)
		if err := <-results; err != left {
			t.Errorf("the one that left got %v, want %v", err, left)
		}
		for range 2 {
			if err := <-results; err != nil {
				t.Errorf("one that stays got %v", err)
			}
		}
	})
}
