package wait_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgo/internal/wait"
)

func TestForWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := wait.For(t.Context(), time.Hour); err != nil {
			t.Error(err)
		}
		if waited := time.Since(began); waited != time.Hour {
			t.Errorf("waited %s, want an hour", waited)
		}
	})
}

func TestForEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("it is over")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, why)
		defer cancel()
		began := time.Now()
		if err := wait.For(ctx, time.Hour); !errors.Is(err, why) {
			t.Errorf("got %v, want the context's cause", err)
		}
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("waited %s, want a minute", waited)
		}
	})
}

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		time.AfterFunc(time.Minute, func() { close(done) })
		began := time.Now()
		if wait.Until(done, time.Second) {
			t.Error("done after a second")
		}
		if !wait.Until(done, time.Hour) {
			t.Error("not done after an hour")
		}
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("waited %s, want a minute", waited)
		}
	})
}

func TestSpread(t *testing.T) {
	low, high := time.Hour, time.Duration(0)
	for range 10_000 {
		d := wait.Spread(time.Minute, 0.25)
		low, high = min(low, d), max(high, d)
	}
	if low < 45*time.Second || low > 46*time.Second || high > 75*time.Second || high < 74*time.Second {
		t.Errorf("between %s and %s, want 45s to 75s", low, high)
	}
	if d := wait.Spread(time.Minute, 0); d != time.Minute {
		t.Errorf("got %s without any spread", d)
	}
	if d := wait.Spread(0, 0.25); d != 0 {
		t.Errorf("got %s for nothing", d)
	}
}
