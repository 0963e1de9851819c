package deploy

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgo/worker/compose"
)

func still() compose.Surroundings { return compose.Surroundings{Boot: "1", Others: "a"} }
func moved() compose.Surroundings { return compose.Surroundings{Boot: "1", Others: "b"} }

func TestFaultsAreTriedLessAndLess(t *testing.T) {
	var f faults
	fault := errors.New("the port is taken")
	if f.wait(named("a"), "s", still) != nil {
		t.Error("it waits before any fault")
	}
	last := time.Duration(0)
	for range 20 {
		f.note(named("a"), "s", fault, lastWait, still)
		if f.delay < last || f.delay > lastWait || f.wait(named("a"), "s", still) != fault {
			t.Fatalf("after %s: delay %s, error %v", last, f.delay, f.wait(named("a"), "s", still))
		}
		last = f.delay
	}
	if last != lastWait {
		t.Errorf("the last delay is %s", last)
	}
	if f.wait(named("b"), "s", still) != nil || f.wait(named("a"), "other", still) != nil {
		t.Error("it also waits for another commit, or with other settings")
	}
	f.note(named("b"), "s", fault, lastWait, still)
	if f.delay != firstWait {
		t.Errorf("another commit begins with %s", f.delay)
	}
	f.note(named("b"), "s", verdict{fault}, lastWait, still)
	if f.wait(named("b"), "s", still) != nil {
		t.Error("it waits after a verdict, as after a fault")
	}
}

// What was in the way may be gone: one more try for each change of the surroundings.
func TestChangedSurroundingsEndTheWait(t *testing.T) {
	var f faults
	fault := errors.New("the name is taken")
	f.note(named("a"), "s", fault, lastWait, still)
	if f.wait(named("a"), "s", func() compose.Surroundings { return compose.Surroundings{} }) == nil {
		t.Error("an engine that does not answer is taken for a change")
	}
	if f.wait(named("a"), "s", moved) != nil {
		t.Error("it waits although the surroundings have changed")
	}
	if f.wait(named("a"), "s", moved) == nil {
		t.Error("one change ends the wait twice")
	}
}

// What takes down what runs is tried three times, further and further apart, and then only
// when there is a sign that it may work.
func TestOutages(t *testing.T) {
	now, basis := time.Now(), Basis{Commit: named("a"), Settings: "s"}
	restarted := func() compose.Surroundings { return compose.Surroundings{Boot: "2", Others: "a"} }
	cause := errors.New("iptables failed")
	var o *Outages
	if o.wait(basis, now, still) != nil {
		t.Fatal("it waits before any outage")
	}
	last := time.Duration(0)
	for n := 1; n < maxOutages; n++ {
		o = o.add(basis, cause, still(), now)
		apart := o.Next.Sub(now)
		if o.Count != n || apart < 2*time.Minute || apart < 2*last {
			t.Fatalf("after %s: %+v", last, o)
		}
		if err := o.wait(basis, now, moved); err == nil || !strings.Contains(err.Error(), "iptables failed; it is tried again at ") {
			t.Errorf("outage %d: %v", n, err)
		}
		if o.wait(basis, now, restarted) != nil {
			t.Errorf("outage %d: it waits although the engine was restarted", n)
		}
		last, now = apart, o.Next
		if err := o.wait(basis, now, still); err != nil {
			t.Errorf("outage %d: it still waits after %s: %v", n, apart, err)
		}
	}
	o = o.add(basis, cause, still(), now)
	for _, later := range []time.Duration{0, lastOutageWait, 1000 * time.Hour} {
		if err := o.wait(basis, now.Add(later), still); err == nil || !strings.Contains(err.Error(), "taken down 3 times") {
			t.Errorf("%s after the last: %v", later, err)
		}
	}
	if o.wait(basis, now, moved) == nil || o.wait(basis, now.Add(lastOutageWait), moved) != nil {
		t.Error("a change around is not what ends the wait, once in a while")
	}
	if o.wait(basis, now, restarted) != nil {
		t.Error("it waits although the engine was restarted")
	}
	for _, other := range []Basis{{Commit: named("b"), Settings: "s"}, {Commit: named("a"), Settings: "t"}} {
		if o.wait(other, now, still) != nil || o.add(other, cause, still(), now).Count != 1 {
			t.Errorf("%+v is held by the outages of another one", other)
		}
	}
}
