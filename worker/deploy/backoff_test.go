package deploy

import (
	"errors"
	"testing"
	"time"
)

func TestFaultsAreTriedLessAndLess(t *testing.T) {
	var f faults
	fault := errors.New("the port is taken")
	if f.wait(named("a"), "s") != nil {
		t.Error("it waits before any fault")
	}
	last := time.Duration(0)
	for range 20 {
		f.note(named("a"), "s", fault)
		if f.delay < last || f.delay > lastWait || f.wait(named("a"), "s") != fault {
			t.Fatalf("after %s: delay %s, error %v", last, f.delay, f.wait(named("a"), "s"))
		}
		last = f.delay
	}
	if last != lastWait {
		t.Errorf("the last delay is %s", last)
	}
	if f.wait(named("b"), "s") != nil || f.wait(named("a"), "other") != nil {
		t.Error("it also waits for another commit, or with other settings")
	}
	f.note(named("b"), "s", fault)
	if f.delay != firstWait {
		t.Errorf("another commit begins with %s", f.delay)
	}
	f.note(named("b"), "s", verdict{fault})
	if f.wait(named("b"), "s") != nil {
		t.Error("it waits after a verdict, as after a fault")
	}
}
