package deploy

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/compose"
)

// If the containers are on another engine than the one that was configured last, that other
// engine is asked, and an error says what to do.
func TestRemovalFromAnotherEngine(t *testing.T) {
	away := "unix://" + filepath.Join(t.TempDir(), "docker.sock")
	for configured, hint := range map[string]string{
		"unix:///nonexistent/docker.sock": "; it was deployed on a different engine than the one configured last: configure it with docker_host = " + away + " once more",
		away:                              "",
	} {
		dir := t.TempDir()
		state := State{Wanted: Up, Deployed: &Record{Number: 1, Outcome: Deployed, Engine: away}}
		if err := state.save(dir); err != nil {
			t.Fatal(err)
		}
		cfg := Config{Name: "web", Dir: dir, Timeout: time.Minute, Project: compose.Project{Host: configured}}
		err := Remove(t.Context(), cfg, NewQueue(), hclog.NewNullLogger())
		if err == nil || !strings.Contains(err.Error(), "cannot take down web") {
			t.Fatalf("configured for %s: %v", configured, err)
		}
		if got := strings.Contains(err.Error(), "a different engine"); got != (hint != "") || !strings.Contains(err.Error(), hint) {
			t.Errorf("configured for %s: %v", configured, err)
		}
	}
	if err := elsewhere(errors.New("no"), "", away); !strings.Contains(err.Error(), "configure it without docker_host once more") {
		t.Error(err)
	}
}

// The removal of an entry takes with it what a worker that was killed has tried.
func TestRemovalTakesProbes(t *testing.T) {
	removed := ""
	engine := newFakeEngine(t, "by-hand")
	engine.answers("GET /{version}/networks", []map[string]any{{"Id": "abc", "Name": "pgo-probe-web-0", "Labels": map[string]string{"pgo.probe": "web"}}})
	engine.HandleFunc("DELETE /{version}/networks/{id}", func(_ http.ResponseWriter, r *http.Request) { removed += r.PathValue("id") })
	cfg := Config{Name: "web", Dir: t.TempDir(), Timeout: time.Minute, Project: compose.Project{Host: engine.host}}
	err := Remove(t.Context(), cfg, NewQueue(), hclog.NewNullLogger())
	if err != nil || removed != "abc" {
		t.Errorf("%v, removed is %q", err, removed)
	}
}
