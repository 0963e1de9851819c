package compose

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeEngine answers like an engine that has the given containers, and records what it is told
// to do with them.
func fakeEngine(t *testing.T, containers []map[string]any) (e *Engine, told *[]string) {
	t.Helper()
	told = &[]string{}
	answer := func(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, path, _ := strings.Cut(r.URL.Path, "/containers/")
		id, action, _ := strings.Cut(path, "/")
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
			w.Header().Set("Api-Version", "1.41")
		case path == "json":
			answer(w, containers)
		case action == "json":
			i := slices.IndexFunc(containers, func(c map[string]any) bool { return c["Id"] == id })
			answer(w, map[string]any{"Id": id, "Created": containers[i]["made"]})
		case slices.ContainsFunc(containers, func(c map[string]any) bool {
			return c["Id"] == id && (c["State"] == "dead" || c["State"] == "removing")
		}):
			*told = append(*told, fmt.Sprintf("%s %s force=%s volumes=%s", r.Method, id, r.URL.Query().Get("force"), r.URL.Query().Get("v")))
			w.WriteHeader(http.StatusConflict)
		case action == "update":
			var update struct{ RestartPolicy struct{ Name string } }
			_ = json.NewDecoder(r.Body).Decode(&update)
			*told = append(*told, fmt.Sprintf("update %s %s", id, update.RestartPolicy.Name))
			answer(w, map[string]any{})
		case r.Method == http.MethodDelete:
			*told = append(*told, fmt.Sprintf("remove %s volumes=%s", id, r.URL.Query().Get("v")))
			w.WriteHeader(http.StatusNoContent)
		default:
			*told = append(*told, strings.TrimSpace(action+" "+id+" "+r.URL.Query().Get("name")))
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(server.Close)
	return &Engine{Host: "tcp://" + strings.TrimPrefix(server.URL, "http://")}, told
}

// None can start again by itself, none is removed with its volumes, and of two with one number
// the older one stays, in whatever order the engine lists them.
func TestRetire(t *testing.T) {
	container := func(id, name, service, number, oneoff, state string, second int) map[string]any {
		return map[string]any{"Id": id, "Names": []string{"/" + name}, "State": state, "made": fmt.Sprintf("2026-01-02T03:04:%02d.5Z", second),
			"Labels": map[string]string{serviceLabel: service, numberLabel: number, oneoffLabel: oneoff}}
	}
	young := container("young", "old_p-web-1", "web", "1", "False", "created", 9)
	old := container("old", "p-web-1", "web", "1", "False", "exited", 1)
	second := container("second", "p-web-2", "web", "2", "False", "running", 1)
	other := container("other", "p-db-1", "db", "1", "False", "created", 5)
	once := container("once", "p-run", "web", "1", "True", "running", 0)
	for _, listed := range [][]map[string]any{{young, old, second, other, once}, {once, other, second, old, young}} {
		e, told := fakeEngine(t, listed)
		got, err := e.Retire(t.Context(), "p")
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, func(a, b Retired) int { return strings.Compare(a.ID, b.ID) })
		want := []Retired{{"old", "p-web-1", "web", true}, {"other", "p-db-1", "db", false}, {"second", "p-web-2", "web", true}}
		if !slices.Equal(got, want) {
			t.Errorf("retired are %+v", got)
		}
		slices.Sort(*told)
		if want := []string{"remove once volumes=", "remove young volumes=", "stop old", "stop once", "stop other", "stop second", "stop young", "stop young",
			"update old no", "update other no", "update second no", "update young no"}; !slices.Equal(*told, want) {
			t.Errorf("the engine was told %q", *told)
		}
	}
}

// What the engine could not remove wholly, and will not change either, is not in the way of the rest.
func TestRetireWithRemains(t *testing.T) {
	remains := func(id, state, oneoff string) map[string]any {
		return map[string]any{"Id": id, "State": state, "made": "2026-01-02T03:04:01Z", "Labels": map[string]string{serviceLabel: "web", numberLabel: "1", oneoffLabel: oneoff}}
	}
	e, told := fakeEngine(t, []map[string]any{remains("dead", "dead", "False"), remains("going", "removing", "False"), remains("once", "dead", "True"), remains("web", "running", "False")})
	got, err := e.Retire(t.Context(), "p")
	if err != nil || len(got) != 1 || got[0].ID != "web" {
		t.Errorf("%v, retired are %+v", err, got)
	}
	want := []string{"DELETE dead force=1 volumes=", "DELETE going force=1 volumes=", "DELETE once force=1 volumes=", "update web no", "stop web"}
	if !slices.Equal(*told, want) {
		t.Errorf("the engine was told %q", *told)
	}
}

// Only what is paused, and of a compose service that is asked for, is continued.
func TestUnpause(t *testing.T) {
	paused := []map[string]any{
		{"Id": "a", "State": "paused", "Labels": map[string]string{serviceLabel: "web"}},
		{"Id": "b", "State": "paused", "Labels": map[string]string{serviceLabel: "db"}},
	}
	for _, test := range []struct {
		services []string
		want     []string
	}{{nil, []string{"unpause a", "unpause b"}}, {[]string{"web"}, []string{"unpause a"}}, {[]string{}, nil}} {
		e, told := fakeEngine(t, paused)
		if err := e.Unpause(t.Context(), "p", test.services); err != nil || !slices.Equal(*told, test.want) {
			t.Errorf("%v: %v, the engine was told %q", test.services, err, *told)
		}
	}
}

func TestContainerNames(t *testing.T) {
	m, err := Load([]byte(`{"services": {"web": {"scale": 2}, "db": {"container_name": "base"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(ContainerNames(m, "p")); got != "map[base:db p-web-1:web p-web-2:web]" {
		t.Errorf("the names are %s", got)
	}
}

func TestSameNetwork(t *testing.T) {
	load := func(networks string) *Model {
		m, err := Load([]byte(`{"networks": {` + networks + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	a := load(`"one": {"name": "p_one", "ipam": {}}, "two": {"name": "p_two"}, "out": {"name": "out", "external": true}`)
	for _, test := range []struct {
		b, name     string
		same, makes bool
	}{
		{`"one": {"ipam": {}, "name": "p_one"}`, "p_one", true, true},
		{`"one": {"name": "p_one", "ipam": {}, "internal": true}`, "p_one", false, true},
		{`"uno": {"name": "p_one", "ipam": {}}`, "p_one", false, true}, // compose looks at the key, too
		{`"two": {"name": "p_two"}`, "p_one", false, false},
		{`"out": {"name": "out", "external": true}`, "out", true, false},
	} {
		b := load(test.b)
		if got := SameNetwork(a, b, test.name); got != test.same {
			t.Errorf("%s with %s: %v", test.name, test.b, got)
		}
		if got := MakesNetwork(b, test.name); got != test.makes {
			t.Errorf("%s makes %s: %v", test.b, test.name, got)
		}
	}
}
