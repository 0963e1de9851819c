package supervisor

import (
	"testing"
	"time"
)

func TestRestartDelays(t *testing.T) {
	var r restarts
	firstDelay := restartDelays.First
	want := firstDelay
	for range 20 {
		if got := r.next(0); got < want*4/5 || got > want*6/5 {
			t.Fatalf("delay %s, want %s and a fifth either way", got, want)
		}
		want = min(2*want, restartDelays.Last)
	}
	if !r.count().crashloop(time.Now()) {
		t.Error("twenty exits in a row are not a crash loop")
	}
	if r.count().crashloop(time.Now().Add(2 * loopWindow)) {
		t.Error("still a crash loop long after")
	}
	if got := r.next(healthy); got > firstDelay*6/5 {
		t.Errorf("delay %s after a healthy life", got)
	}
	r.next(0)
	r.forget()
	if got := r.next(0); got > firstDelay*6/5 {
		t.Errorf("delay %s after an operator's restart", got)
	}
}
