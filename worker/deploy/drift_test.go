package deploy

import (
	"slices"
	"testing"
	"time"

	"pgo/worker/compose"
)

func TestAstray(t *testing.T) {
	model, err := compose.Load([]byte(`{"services": {"web": {}, "net": {}, "app": {"network_mode": "service:net"}, "foreign": {"pid": "container:x"}, "job": {}}}`))
	if err != nil {
		t.Fatal(err)
	}
	state := State{Made: map[string]Made{
		"web": {Config: "c1", Image: "i1", Networks: []string{"a", "b"}},
		"net": {Config: "c2", Image: "i1", Networks: []string{"a"}},
		"app": {Config: "c3", Image: "i1"},
	}}
	now := time.Now()
	container := func(service, config string, networks ...string) compose.Container {
		return compose.Container{ID: service, Name: service + "-1", Service: service, State: "running", Config: config, Image: "i1", Networks: networks, Started: now}
	}
	with := func(c compose.Container, change func(*compose.Container)) compose.Container {
		change(&c)
		return c
	}
	web, net := container("web", "c1", "a", "b"), container("net", "c2", "a")
	app := with(container("app", "c3"), func(c *compose.Container) { c.Shares, c.Started = []string{"net"}, now.Add(time.Second) })
	for _, test := range []struct {
		name       string
		containers []compose.Container
		stopped    []string
		want       []string
	}{
		{name: "as made", containers: []compose.Container{web, net, app}},
		{name: "on one more network", containers: []compose.Container{container("web", "c1", "a", "b", "c"), net, app}},
		{name: "off a network", containers: []compose.Container{container("web", "c1", "b"), net, app}, want: []string{"web"}},
		{name: "another configuration", containers: []compose.Container{container("web", "other", "a", "b"), net, app}, want: []string{"web"}},
		{name: "one of two", containers: []compose.Container{web, container("web", "other", "a", "b"), net, app}, want: []string{"web"}},
		{name: "another image", containers: []compose.Container{with(web, func(c *compose.Container) { c.Image = "i2" }), net, app}, want: []string{"web"}},
		{name: "not running", containers: []compose.Container{with(container("web", "other"), func(c *compose.Container) { c.State = "exited" }), net, app}},
		{name: "stopped by an operation", containers: []compose.Container{container("web", "other"), net, app}, stopped: []string{"web"}},
		{name: "nobody knows how it was made", containers: []compose.Container{container("job", "any"), container("stranger", "any"), web, net, app}},
		{name: "what it shares with was started again", containers: []compose.Container{web, with(net, func(c *compose.Container) { c.Started = now.Add(time.Minute) }), app}, want: []string{"app"}},
		{name: "what it shares with was replaced", containers: []compose.Container{web, with(net, func(c *compose.Container) { c.ID = "net2" }), app}, want: []string{"app"}},
		{name: "what it shares with has ended", containers: []compose.Container{web, with(net, func(c *compose.Container) { c.State = "exited" }), app}},
		{name: "it shares with one of somebody else", containers: []compose.Container{web, net, app, with(container("foreign", "c"), func(c *compose.Container) { c.Shares = []string{"x"} })}},
	} {
		t.Run(test.name, func(t *testing.T) {
			state.Containers.Stopped = test.stopped
			if got := astray(model, test.containers, state); !slices.Equal(got, test.want) {
				t.Errorf("astray are %v, not %v", got, test.want)
			}
		})
	}
}

func TestSuperfluous(t *testing.T) {
	model, err := compose.Load([]byte(`{"services": {"web": {}, "pair": {"scale": 2}}}`))
	if err != nil {
		t.Fatal(err)
	}
	container := func(name, service, config string) compose.Container {
		return compose.Container{Name: name, Service: service, Config: config}
	}
	containers := []compose.Container{
		container("web-1", "web", "c"), container("web-2", "web", "c"), container("web-3", "web", "c"),
		container("pair-1", "pair", "c"), container("pair-2", "pair", "c"),
		container("old-1", "old", "c"), container("debug", "debug", ""),
	}
	want := []string{"web has 3 containers instead of 1: up removes the others", "old-1 is of no compose service of the file: up removes it"}
	if got := superfluous(model, containers); !slices.Equal(got, want) {
		t.Errorf("it says %q", got)
	}
	if got := superfluous(model, containers[3:5]); len(got) != 0 {
		t.Errorf("it says %q", got)
	}
}

// A container that leaves a network is a reason to look, if it is the service's own.
func TestOwnContainerLeavesANetwork(t *testing.T) {
	cs := &containers{}
	cs.healing.follow([]compose.Container{{ID: "own"}})
	for id, want := range map[string]bool{"own": true, "other": false} {
		if got := cs.happened(compose.Event{Action: "disconnect", Container: id}); got != want {
			t.Errorf("%s: %v", id, got)
		}
	}
}
