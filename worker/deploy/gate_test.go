package deploy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgo/worker/compose"
)

// with returns a container of the compose service web.
func with(state string, change func(*compose.Container)) compose.Container {
	c := compose.Container{ID: "1", Name: "web-1", Service: "web", State: state}
	if change != nil {
		change(&c)
	}
	return c
}

func TestHealth(t *testing.T) {
	now := time.Now()
	old, new := now.Add(-time.Minute), now.Add(-time.Second)
	policy := func(name string, most, restarts int) func(*compose.Container) {
		return func(c *compose.Container) {
			c.Policy, c.MaxRetries, c.Restarts, c.ExitCode = name, most, restarts, 1
		}
	}
	for _, test := range []struct {
		name             string
		container        compose.Container
		waiting, failing string // part of the problem; neither: all is well
	}{
		{"runs for long", with("running", func(c *compose.Container) { c.Started = old }), "", ""},
		{"was just started", with("running", func(c *compose.Container) { c.Started = new }), "only just started", ""},
		{"restarted a moment ago", with("running", func(c *compose.Container) { c.Started, c.Restarts = new, 2 }), "restarted 2 times", ""},
		{"is healthy", with("running", func(c *compose.Container) { c.Started, c.Health = old, "healthy" }), "", ""},
		{"is not healthy yet", with("running", func(c *compose.Container) { c.Started, c.Health = old, "starting" }), "not healthy yet", ""},
		{"is unhealthy", with("running", func(c *compose.Container) { c.Started, c.Health, c.Checked = old, "unhealthy", "no\nanswer\n" }), "", "is unhealthy: answer"},
		{"a job that is done", with("exited", nil), "", ""},
		{"a job that failed", with("exited", func(c *compose.Container) { c.ExitCode = 3 }), "", "exited with 3"},
		{"a job that failed and may not again", with("exited", policy("on-failure", 2, 2)), "", "exited with 1"},
		{"one that failed and is tried again", with("exited", policy("on-failure", 2, 1)), "exited with 1", ""},
		{"a server that ended and returns", with("exited", policy("always", 0, 7)), "exited with 1", ""},
		{"a server that was stopped", with("exited", func(c *compose.Container) { c.Policy = "unless-stopped" }), "exited with 0", ""},
		{"restarts", with("restarting", policy("always", 0, 7)), "keeps restarting", ""},
		{"waits for another", with("created", nil), "is not started", ""},
		{"could not be started", with("created", func(c *compose.Container) { c.Error = "no such file" }), "", "no such file"},
		{"is paused", with("paused", nil), "is paused", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			waiting, failed := newHealthWatch(map[string]int{"web": 1}).judge([]compose.Container{test.container}, now)
			switch {
			case test.failing != "":
				if failed == nil || !strings.Contains(failed.problem, test.failing) {
					t.Errorf("failed %+v, want %q", failed, test.failing)
				}
			case failed != nil:
				t.Errorf("failed: %s", failed.problem)
			case test.waiting == "" && len(waiting) > 0:
				t.Errorf("waiting for %+v", waiting)
			case test.waiting != "" && (len(waiting) != 1 || !strings.Contains(waiting[0].problem, test.waiting)):
				t.Errorf("waiting for %+v, want %q", waiting, test.waiting)
			}
		})
	}
}

// A container must keep running for a while: one that restarts begins anew, whatever the
// engine's clock says.
func TestSteady(t *testing.T) {
	watch := newHealthWatch(map[string]int{"web": 2})
	now := time.Now()
	one := with("running", func(c *compose.Container) { c.Started = now.Add(time.Hour) }) // a clock that is wrong
	judge := func(after time.Duration, containers ...compose.Container) string {
		waiting, failed := watch.judge(containers, now.Add(after))
		if failed != nil {
			t.Fatalf("failed: %+v", failed)
		}
		var names []string
		for _, w := range waiting {
			names = append(names, w.Name)
		}
		return strings.Join(names, " ")
	}
	if got := judge(0, one); got != "web web-1" {
		t.Errorf("with one of two containers waiting for %q", got)
	}
	two := with("running", func(c *compose.Container) { c.ID, c.Name, c.Started = "2", "web-2", now.Add(-time.Hour) })
	if got := judge(time.Second, one, two); got != "web-1" {
		t.Errorf("after a second waiting for %q", got)
	}
	if got := judge(steady, one, two); got != "" {
		t.Errorf("after %s waiting for %q", steady, got)
	}
	one.Started = now.Add(2 * time.Hour)
	if got := judge(steady, one, two); got != "web-1" {
		t.Errorf("after a restart waiting for %q", got)
	}
}

func TestBlameless(t *testing.T) {
	for output, want := range map[string]bool{
		"Error response from daemon: driver failed: Bind for 0.0.0.0:80 failed: port is already allocated": true,
		"Error response from daemon: network abc not found":                                                true,
		"write /var/lib/docker/tmp/x: no space left on device":                                             true,
		"failed to do request: Head \"https://r/v2/\": dial tcp: lookup r: no such host":                   true,
		"OCI runtime create failed: exec: \"nope\": executable file not found in $PATH: unknown":           false,
		"dependency failed to start: container web-1 is unhealthy":                                         false,
		"failed to solve: process \"/bin/sh -c false\" did not complete successfully: exit code: 1":        false,
	} {
		if got := blameless(&compose.ExitError{Command: "up", Status: 1, Output: output}); got != want {
			t.Errorf("%q: %v", output, got)
		}
	}
}

// An engine that has much to do takes long to create containers. That is not the commit's
// fault, and does not count as part of the time that it has to become healthy.
func TestGateBeginsWhenContainersAreCreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const gate = time.Minute
		overdue := errors.New("the gate is over")
		gated, cancel, err := withGate(t.Context(), gate, overdue, func() error {
			time.Sleep(10 * gate) // in the bubble's time
			return nil
		})
		defer cancel()
		if err != nil || gated.Err() != nil {
			t.Fatalf("after a slow creation: %v, %v", err, gated.Err())
		}
		begun := time.Now()
		<-gated.Done()
		if took := time.Since(begun); took != gate || context.Cause(gated) != overdue {
			t.Errorf("the gate took %s: %v", took, context.Cause(gated))
		}
	})
}

// What cannot be created has no gate that could be over.
func TestFailedCreationHasNoGate(t *testing.T) {
	broken := errors.New("no such runtime")
	gated, cancel, err := withGate(t.Context(), 0, errors.New("the gate is over"), func() error { return broken })
	defer cancel()
	if err != broken || gated != t.Context() {
		t.Errorf("it has a gate, and %v", err)
	}
}
