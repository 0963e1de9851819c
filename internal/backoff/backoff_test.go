package backoff_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgo/internal/backoff"
)

var delays = backoff.Delays{First: time.Second, Last: 10 * time.Second}

func TestDelaysDoubleUpToTheLast(t *testing.T) {
	want := []time.Duration{0, 1, 2, 4, 8, 10, 10}
	for failures, seconds := range want {
		if got := delays.After(failures); got != seconds*time.Second {
			t.Errorf("%s after %d failures, want %ds", got, failures, seconds)
		}
	}
	if got := delays.After(1 << 40); got != delays.Last {
		t.Errorf("%s after very many failures", got)
	}
	if got := (backoff.Delays{First: time.Minute, Last: time.Second}).After(1); got != time.Second {
		t.Errorf("%s, which is more than the last delay", got)
	}
}

func TestFailuresCount(t *testing.T) {
	var f backoff.Failures
	for i := range 40 {
		if got, want := f.Next(delays), delays.After(i+1); got != want {
			t.Errorf("failure %d: %s, want %s", i+1, got, want)
		}
	}
	f.Reset()
	if got := f.Next(delays); got != delays.First {
		t.Errorf("%s after a reset", got)
	}
}

func TestLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f backoff.Failures
		if got := f.Left(); got != 0 {
			t.Errorf("%s left before any failure", got)
		}
		f.Next(delays)
		f.Next(delays)
		time.Sleep(500 * time.Millisecond)
		if got := f.Left(); got != 1500*time.Millisecond {
			t.Errorf("%s left, want 1.5s", got)
		}
		time.Sleep(time.Hour)
		if got := f.Left(); got != 0 {
			t.Errorf("%s left after an hour", got)
		}
		f.Next(delays)
		f.Reset()
		if got := f.Left(); got != 0 {
			t.Errorf("%s left after a reset", got)
		}
	})
}

func TestCalmStartsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calming := delays
		calming.Calm = time.Minute
		var f backoff.Failures
		var got []time.Duration
		for _, pause := range []time.Duration{0, 0, time.Minute, time.Minute + 1} {
			time.Sleep(pause)
			got = append(got, f.Next(calming))
		}
		if want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, time.Second}; !slices.Equal(got, want) {
			t.Errorf("delays %v, want %v", got, want)
		}
	})
}

func TestJitter(t *testing.T) {
	shaky := delays
	shaky.Jitter = 0.2
	seen := map[time.Duration]bool{}
	for range 100 {
		var f backoff.Failures
		d := f.Next(shaky)
		if d < 800*time.Millisecond || d > 1200*time.Millisecond {
			t.Errorf("%s, want a second and a fifth either way", d)
		}
		seen[d] = true
	}
	if len(seen) < 2 {
		t.Error("all delays are the same")
	}
}
