package deploy

import (
	"net/http"
	"strings"
	"testing"

	"pgo/internal/policy"
	"pgo/worker/compose"
)

// What must not be started may have the volumes of the container before it. They are named when it
// is removed, and no volume that another container still has.
func TestUnmadeVolumesAreNamed(t *testing.T) {
	lost, kept := strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	container := func(id string, volumes ...string) map[string]any {
		var mounts []map[string]any
		for _, name := range volumes {
			mounts = append(mounts, map[string]any{"Type": "volume", "Name": name, "Destination": "/data"})
		}
		return map[string]any{"Id": id, "Names": []string{"/unit-" + id}, "Mounts": mounts}
	}
	engine := newFakeEngine(t)
	engine.containers = []map[string]any{container("new", lost, kept, "unit_named"), container("other", kept)}
	engine.answers("GET /{version}/volumes", map[string]any{})
	engine.HandleFunc("DELETE /{version}/containers/new", func(w http.ResponseWriter, _ *http.Request) {
		engine.containers = engine.containers[1:]
		w.WriteHeader(http.StatusNoContent)
	})
	d := open(t, t.TempDir()).work
	d.engine.Host = engine.host
	var said strings.Builder
	d.starter.unmake(t.Context(), compose.Output{Stderr: &said}, policy.Made{Containers: []map[string]any{{"Id": "new"}}}, nil, nil)
	want := "no container has the volume of unit-new at /data any more; it is kept: docker volume rm " + lost + "\n"
	if said.String() != want || len(engine.containers) != 1 {
		t.Errorf("it says %q, and there are %v", said.String(), engine.containers)
	}
}
