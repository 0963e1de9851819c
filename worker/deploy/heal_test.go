package deploy

import (
	"slices"
	"testing"
	"time"

	"pgo/worker/compose"
)

func TestWhatIsLost(t *testing.T) {
	model, err := compose.Load([]byte(`{"services": {"web": {}, "job": {}, "pair": {"scale": 2}}}`))
	if err != nil {
		t.Fatal(err)
	}
	container := func(service, id, state string, code int) compose.Container {
		return compose.Container{ID: id, Name: service + "-1", Service: service, State: state, ExitCode: code}
	}
	web, job := container("web", "w", "running", 0), container("job", "j", "exited", 0)
	p1, p2 := container("pair", "p1", "running", 0), container("pair", "p2", "running", 0)
	ended := container("web", "w", "exited", 137)
	event := func(action, signal string) compose.Event {
		return compose.Event{Action: action, Container: "w", Service: "web", Signal: signal}
	}
	running := Containers{Boot: "this", Running: []string{"pair", "web"}, Finished: []string{"job"}}
	for _, test := range []struct {
		name       string
		events     []compose.Event
		known      Containers
		containers []compose.Container
		want       []string
	}{
		{name: "all there", known: running, containers: []compose.Container{web, job, p1, p2}},
		{name: "a server was removed", known: running, containers: []compose.Container{job, p1, p2}, want: []string{"web"}},
		{name: "one of two was removed", known: running, containers: []compose.Container{web, job, p2}, want: []string{"pair"}},
		{name: "a finished job was removed", known: running, containers: []compose.Container{web, p1, p2}},
		{name: "ended by itself", events: []compose.Event{event("die", "")}, known: running, containers: []compose.Container{ended, job, p1, p2}},
		{name: "docker stop", events: []compose.Event{event("kill", "15"), event("die", ""), event("stop", "")}, known: running, containers: []compose.Container{ended, job, p1, p2}, want: []string{"web"}},
		{name: "docker kill", events: []compose.Event{event("kill", "9"), event("die", "")}, known: running, containers: []compose.Container{ended, job, p1, p2}, want: []string{"web"}},
		{name: "a signal that only reloads", events: []compose.Event{event("kill", "1"), event("die", "")}, known: running, containers: []compose.Container{ended, job, p1, p2}},
		{name: "stopped, started, ended by itself", events: []compose.Event{event("kill", "15"), event("die", ""), event("stop", ""), event("start", ""), event("die", "")}, known: running, containers: []compose.Container{ended, job, p1, p2}},
		{name: "stopped by an operation", events: []compose.Event{event("kill", "15"), event("die", ""), event("stop", "")}, known: Containers{Boot: "this", Stopped: []string{"web"}, Finished: []string{"job"}}, containers: []compose.Container{ended, job, p1, p2}},
		{name: "the host was booted", known: Containers{Boot: "another", Running: []string{"pair", "web"}, Finished: []string{"job"}}, containers: []compose.Container{ended, job, p1, p2}, want: []string{"web"}},
		{name: "the host was booted, and it had ended before", known: Containers{Boot: "another", Running: []string{"pair"}, Finished: []string{"job"}}, containers: []compose.Container{ended, job, p1, p2}},
		{name: "done when the engine ended", known: Containers{Boot: "another", Running: []string{"pair", "web"}, Finished: []string{"job"}}, containers: []compose.Container{container("web", "w", "exited", 0), job, p1, p2}, want: []string{"web"}},
		{name: "held back by compose", known: Containers{Boot: "this", Running: []string{"pair"}, Finished: []string{"job"}}, containers: []compose.Container{container("web", "w", "created", 0), job, p1, p2}},
		{name: "never started", known: running, containers: []compose.Container{container("web", "w", "created", 0), job, p1, p2}, want: []string{"web"}},
		{name: "one in excess was not started yet", known: running, containers: []compose.Container{web, container("web", "w2", "created", 0), job, p1, p2}},
		{name: "nothing is left", known: running, want: []string{"pair", "web"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cs := &containers{}
			for _, e := range test.events {
				cs.happened(e)
			}
			if got := cs.lost(model, "this", test.containers, test.known); !slices.Equal(got, test.want) {
				t.Errorf("lost %v, want %v", got, test.want)
			}
		})
	}
}

func TestHappened(t *testing.T) {
	cs := &containers{}
	for action, want := range map[string]bool{
		"die": true, "stop": true, "start": true, "destroy": true, "health_status: unhealthy": true, "oom": true,
		"kill": false, "exec_create: sh": false, "exec_die": false, "top": false, "attach": false, "resize": false,
	} {
		if got := cs.happened(compose.Event{Action: action, Container: "c"}); got != want {
			t.Errorf("%s: %v", action, got)
		}
	}
}

// Containers that somebody keeps taking away are brought back less and less soon.
func TestHealingWaits(t *testing.T) {
	var h healing
	now := time.Now()
	last := time.Duration(0)
	for range 20 {
		if wait := h.wait(now); wait != 0 {
			t.Fatalf("waits %s though it is due", wait)
		}
		if h.delay < last || h.delay > healLast {
			t.Fatalf("after %s: %s", last, h.delay)
		}
		if wait := h.wait(now.Add(h.delay / 2)); wait <= 0 {
			t.Fatalf("does not wait with a delay of %s", h.delay)
		}
		last, now = h.delay, now.Add(h.delay)
	}
	if last != healLast {
		t.Errorf("the last delay is %s", last)
	}
	if h.wait(now.Add(healCalm+healLast)) != 0 || h.delay != healFirst {
		t.Errorf("after a calm it begins with %s", h.delay)
	}
}
