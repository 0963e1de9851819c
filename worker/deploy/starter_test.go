package deploy

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
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
	there := []map[string]any{container("new", lost, kept, "unit_named"), container("other", kept)}
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /{version}/volumes", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
	mux.HandleFunc("GET /{version}/containers/json", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(there) })
	mux.HandleFunc("DELETE /{version}/containers/new", func(w http.ResponseWriter, _ *http.Request) {
		there = there[1:]
		w.WriteHeader(http.StatusNoContent)
	})
	socket := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	engine := &httptest.Server{Listener: listener, Config: &http.Server{Handler: mux}}
	engine.Start()
	defer engine.Close()
	d := open(t, t.TempDir()).work
	d.engine.Host = "unix://" + socket
	var said strings.Builder
	d.starter.unmake(t.Context(), compose.Output{Stderr: &said}, policy.Made{Containers: []map[string]any{{"Id": "new"}}}, nil, nil)
	want := "no container has the volume of unit-new at /data any more; it is kept: docker volume rm " + lost + "\n"
	if said.String() != want || len(there) != 1 {
		t.Errorf("it says %q, and there are %v", said.String(), there)
	}
}
