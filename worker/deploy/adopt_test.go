package deploy

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgo/worker/compose"
)

// What would be somewhere else is named once, and nothing that stays or that others mount.
func TestWhatMoves(t *testing.T) {
	model, err := compose.Load([]byte(`{"name": "web", "services": {
		"db": {"volumes": [
			{"type": "bind", "source": "/new/data", "target": "/data"},
			{"type": "bind", "source": "/etc/ssl", "target": "/ssl"},
			{"type": "volume", "source": "store", "target": "/store"}
		]},
		"app": {}
	}, "volumes": {"store": {"name": "web_store2"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	there := []compose.Stranger{{ID: "1", Name: "web-db-1", Dir: "/old"}, {ID: "2", Name: "web-db-2", Dir: "/old"}, {ID: "3", Name: "web-app-1"}}
	mounts := []compose.Mount{
		{Container: "1", Service: "db", Source: "/old/data", Target: "/data"},
		{Container: "2", Service: "db", Source: "/old/data", Target: "/data"},
		{Container: "1", Service: "db", Source: "/etc/ssl", Target: "/ssl"},
		{Container: "1", Service: "db", Volume: "web_store", Target: "/store"},
		{Container: "3", Service: "app", Source: "/old/secret", Target: "/run/secrets/x"},
		{Container: "4", Service: "db", Source: "/own/data", Target: "/data"},
	}
	e := &strangerError{project: "web", there: there, moves: moves(there, mounts, model)}
	want := "somebody else has started the containers of the compose project web (web-db-1, web-db-2, web-app-1, from /old): " +
		"pgo leaves them alone until an operator sets adopt = true in the service's entry; " +
		"then db has /new/data at /data instead of /old/data, db has web_store2 at /store instead of web_store"
	if e.Error() != want {
		t.Errorf("got  %s\nwant %s", e, want)
	}

	for n := range 3 * maxMoves {
		mounts = append(mounts, compose.Mount{Container: "1", Service: "db", Source: fmt.Sprintf("/old/%d", n), Target: "/data"})
	}
	if all := moves(there, mounts, model); len(all) != maxMoves+1 || !strings.HasSuffix(all[maxMoves], " more") {
		t.Errorf("%d are listed: %s", len(all), all)
	}
}

// What check and diff warn of is what would hold the deploy back, in the words of the status, as long
// as it would.
func TestAdoptIsForetold(t *testing.T) {
	engine := newFakeEngine(t, "by-hand")
	d := open(t, t.TempDir()).work
	d.engine.Host = engine.host
	model, err := compose.Load([]byte(modelText))
	if err != nil {
		t.Fatal(err)
	}
	warns := func() string {
		t.Helper()
		c, out := &candidate{resolved: model, record: &Record{}, stays: []string{"a volume is as it was"}}, &strings.Builder{}
		if err := d.foretell(t.Context(), c); err != nil {
			t.Error(err)
		}
		c.warn(compose.Output{Stdout: out})
		return out.String()
	}
	const alone = "# warning: a volume is as it was\n"
	held := d.strangers(t.Context(), &candidate{resolved: model})
	if held == nil || warns() != alone+"# warning: "+held.Error()+"\n" {
		t.Errorf("it warns %q, and the deploy says %v", warns(), held)
	}
	d.cfg.Adopt = true
	if got := warns(); got != alone {
		t.Errorf("an operator has agreed: %q", got)
	}
	d.cfg.Adopt = false
	if err := d.store.update(func(st *State) { st.Deployed = &Record{Number: 1, Outcome: Deployed, Engine: d.engine.Host} }); err != nil {
		t.Fatal(err)
	}
	if got := warns(); got != alone {
		t.Errorf("it is not the first deploy: %q", got)
	}
	d.store.state.Deployed = nil
	d.engine = &compose.Engine{Host: "unix:///nonexistent/docker.sock"}
	if err := d.foretell(t.Context(), &candidate{resolved: model}); err == nil {
		t.Error("nobody could ask the engine, and nothing is said")
	}
}

// With adopt = true, a deploy may replace the containers of somebody else. Neither down nor the
// removal of the entry takes them down before one has come.
func TestAdoptIsForADeploy(t *testing.T) {
	s := open(t, t.TempDir()).work
	s.engine.Host, s.cfg.Adopt = newFakeEngine(t, "by-hand").host, true
	if err := s.strangers(t.Context(), &candidate{}); err != nil {
		t.Errorf("a deploy: %v", err)
	}
	err := s.stayDown(t.Context())
	if !errors.As(err, new(*strangerError)) || !strings.Contains(err.Error(), "pgo leaves them alone until its first deploy replaces them") {
		t.Errorf("down: %v", err)
	}
	// What was deployed may be taken down, whatever it was adopted from.
	if err := s.store.update(func(st *State) { st.Deployed = &Record{Number: 1, Outcome: Deployed, Engine: s.engine.Host} }); err != nil {
		t.Fatal(err)
	}
	if err := s.strangers(t.Context(), nil); err != nil {
		t.Errorf("what was deployed: %v", err)
	}
}
