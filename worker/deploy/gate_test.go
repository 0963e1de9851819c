package deploy

import (
	"context"
	"errors"
	"net/http"
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

// A container that exits in the same way again and again is known not to recover.
func TestLoop(t *testing.T) {
	now := time.Now()
	exit := func(n, code int) compose.Container {
		return with("restarting", func(c *compose.Container) {
			c.Policy, c.Restarts, c.ExitCode, c.Finished = "always", n, code, now.Add(time.Duration(n)*time.Second)
		})
	}
	for name, test := range map[string]struct {
		seen []compose.Container
		want bool
	}{
		"few exits":                {[]compose.Container{exit(1, 1), exit(2, 1), exit(3, 1)}, false},
		"one exit, seen often":     {[]compose.Container{exit(9, 1), exit(9, 1), exit(9, 1), exit(9, 1), exit(9, 1)}, false},
		"again and again":          {[]compose.Container{exit(1, 1), exit(2, 1), exit(3, 1), exit(4, 1)}, true},
		"some exits were not seen": {[]compose.Container{exit(2, 3), exit(5, 3), exit(6, 3), exit(9, 3)}, true},
		"in different ways":        {[]compose.Container{exit(1, 1), exit(2, 1), exit(3, 2), exit(4, 1), exit(5, 2), exit(6, 1)}, false},
		"in another way at last":   {[]compose.Container{exit(1, 1), exit(2, 2), exit(3, 2), exit(4, 2), exit(5, 2)}, true},
	} {
		watch, looping := newHealthWatch(nil), false
		for _, c := range test.seen {
			waiting, _ := watch.judge([]compose.Container{c}, now)
			looping = waiting[0].looping
		}
		if looping != test.want {
			t.Errorf("%s: a loop: %v", name, looping)
		}
	}
}

// What a container did while it ran is evidence, and so is what the engine says about it; what
// never ran says nothing about its commit.
func TestEvidence(t *testing.T) {
	for name, test := range map[string]struct {
		container compose.Container
		want      bool
	}{
		"exited":             {with("exited", func(c *compose.Container) { c.ExitCode = 1 }), true},
		"restarts":           {with("restarting", nil), true},
		"is unhealthy":       {with("running", func(c *compose.Container) { c.Health = "unhealthy" }), true},
		"is not started":     {with("created", nil), false},
		"is paused":          {with("paused", nil), false},
		"is missing":         {compose.Container{Service: "web"}, false},
		"no such command":    {with("created", func(c *compose.Container) { c.Error = `unable to start container process: exec: "x": not found` }), true},
		"no iptables chain":  {with("created", func(c *compose.Container) { c.Error = "iptables: No chain/target/match by that name." }), false},
		"no port on restart": {with("exited", func(c *compose.Container) { c.ExitCode, c.Error = 128, "port is already allocated" }), false},
	} {
		if got := (health{Container: test.container}).isEvidence(); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Not the container that waits is named, but the job that does not end.
func TestBlockers(t *testing.T) {
	model, err := compose.Decode([]byte(`{"name": "unit", "services": {"job": {}, "other": {}, "web": {"depends_on": {
		"job": {"condition": "service_completed_successfully"}, "other": {"condition": "service_started"}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	of := func(service, state string) compose.Container {
		return compose.Container{ID: service, Name: service + "-1", Service: service, State: state}
	}
	held := health{Container: of("web", "created"), problem: "is not started"}
	for name, test := range map[string]struct {
		job  string
		also []health
		want string
	}{
		"the job runs":         {"running", nil, "job-1 has not ended, and web-1 waits for that"},
		"the job fails":        {"restarting", []health{{Container: of("job", "restarting"), problem: "keeps restarting"}}, "job-1 keeps restarting"},
		"nothing else is seen": {"exited", nil, "web-1 is not started"},
	} {
		var got []string
		for _, h := range blockers(model, []compose.Container{of("job", test.job), of("other", "running")}, append(test.also, held)) {
			got = append(got, h.Name+" "+h.problem)
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%s: %q", name, got)
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

// What fails because the engine was restarted, or is away, says nothing about the commit, and is not
// an outage of it, whatever compose says and was doing.
func TestEngineRestartsDuringASwitch(t *testing.T) {
	refusal := &compose.ExitError{Command: "up", Status: 1, Output: "Error response from daemon: invalid mount config for type \"bind\": field Target must not be empty"}
	if !compose.Refused(refusal) {
		t.Fatal("the engine has refused nothing")
	}
	attack := verdict{errors.New("what the engine created differs")}
	for name, test := range map[string]struct {
		err                error
		restarts, away     bool
		restarted, verdict bool // what it counts as
	}{
		"a fault":                            {err: &compose.ExitError{Command: "up", Status: 1, Output: "EOF"}},
		"a fault of the engine's API":        {err: errors.New("connection reset by peer")},
		"a restart":                          {err: &compose.ExitError{Command: "up", Status: 1, Output: "EOF"}, restarts: true, restarted: true},
		"a restart that breaks a connection": {err: errors.New("connection reset by peer"), restarts: true, restarted: true},
		"a refusal":                          {err: refusal, verdict: true},
		"a refusal and a restart":            {err: refusal, restarts: true, restarted: true},
		"a refusal, and it is away":          {err: refusal, away: true},
		"an attack, and a restart":           {err: attack, restarts: true, verdict: true},
	} {
		t.Run(name, func(t *testing.T) {
			engine, boot := newFakeEngine(t), "2026-01-01T00:00:00Z"
			engine.HandleFunc("GET /{version}/networks/bridge", func(w http.ResponseWriter, _ *http.Request) {
				writeJSON(w, map[string]any{"Name": "bridge", "Created": boot})
			})
			d := open(t, t.TempDir()).work
			d.engine.Host = engine.host
			before, err := d.engine.Boot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c := &candidate{commit: named("a"), record: &Record{Number: 2}}
			trial := &trial{gate: d.gate, c: c, boot: before, overdue: errors.New("the gate is over")}
			if test.restarts {
				boot = "2026-01-01T00:00:07Z"
			}
			if test.away {
				d.gate.engine = &compose.Engine{Host: "unix:///nonexistent/docker.sock"}
			}
			for doing, err := range map[string]error{"creating": trial.makeFailed(t.Context(), test.err), "starting": trial.startFailed(t.Context(), t.Context(), test.err)} {
				if errors.Is(err, errRestarted) != test.restarted || isVerdict(err) != test.verdict {
					t.Errorf("%s: %v", doing, err)
				}
			}
		})
	}
}

// An engine that is restarted while what runs is being stopped or moved has made no outage, either.
func TestEngineRestartsBeforeTheGate(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		engine, boot := newFakeEngine(t), "2026-01-01T00:00:00Z"
		engine.HandleFunc("GET /{version}/networks/bridge", func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, map[string]any{"Name": "bridge", "Created": boot})
		})
		engine.answers("GET /{version}/networks", []any{})
		s := runs(t)
		d := s.work
		d.engine.Host, d.cfg.Rollback = engine.host, true
		d.board.onStep = func(step Step) {
			if step == StepDown && restarts {
				boot = "2026-01-01T00:00:07Z"
			}
		}
		model, err := compose.Load([]byte(modelText))
		if err != nil {
			t.Fatal(err)
		}
		c := &candidate{commit: named("a"), record: &Record{Number: 2, Basis: Basis{Commit: named("a")}}, resolved: model}
		// The checkout cannot be moved: there is no such commit.
		err = d.replace(t.Context(), t.Context(), c, order{})
		if err == nil || errors.Is(err, errRestarted) != restarts || !strings.Contains(err.Error(), "cannot bring the checkout to ") {
			t.Errorf("restarts: %v: %v", restarts, err)
		}
		if outages := d.store.snapshot().Outages; (outages == nil) != restarts {
			t.Errorf("restarts: %v: outages: %+v", restarts, outages)
		}
	}
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
