package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// fakeEngine is an engine that answers pings, lists containers, and answers what else it is told to.
type fakeEngine struct {
	*http.ServeMux
	host       string           // where it is, as in DOCKER_HOST
	containers []map[string]any // as it lists them
}

// newFakeEngine returns an engine with these running containers, each the compose service that it
// is of.
func newFakeEngine(t *testing.T, services ...string) *fakeEngine {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	e := &fakeEngine{ServeMux: http.NewServeMux(), host: "unix://" + socket, containers: []map[string]any{}}
	e.answers("/_ping", "OK")
	for n, service := range services {
		id := fmt.Sprintf("c%d", n)
		e.containers = append(e.containers, map[string]any{"Id": id})
		e.answers("GET /{version}/containers/"+id+"/json", map[string]any{
			"Id": id, "Name": "/" + service + "-1", "HostConfig": map[string]any{}, "State": map[string]any{"Status": "running"},
			"Config": map[string]any{"Labels": map[string]any{"com.docker.compose.service": service}},
		})
	}
	e.HandleFunc("GET /{version}/containers/json", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, e.containers) })
	serveEngine(t, socket, e)
	return e
}

// answers has the engine answer such requests with the JSON of v.
func (e *fakeEngine) answers(pattern string, v any) {
	e.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, v) })
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// serveEngine answers at the socket until the test ends.
func serveEngine(t *testing.T, socket string, handler http.Handler) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	engine := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
	engine.Start()
	t.Cleanup(engine.Close)
}

// The name of a compose service is checked against what there is, whatever state the service is in.
func TestUnknownNames(t *testing.T) {
	const next = `{"name": "unit", "services": {"next": {"image": "a"}}}`
	good := &Record{Number: 1, Outcome: Deployed}
	for name, test := range map[string]struct {
		state           State
		deployed, stage string
		containers      []string
		known           []string // none: nothing is deployed
	}{
		"deployed":                      {State{Deployed: good}, modelText, next, []string{"old"}, []string{"web"}},
		"never deployed":                {State{}, "", "", nil, nil},
		"never deployed, staged":        {State{}, "", next, nil, nil},
		"containers of somebody else":   {State{}, "", "", []string{"by-hand"}, []string{"by-hand"}},
		"switching":                     {State{Deployed: good, Switching: &Switching{}}, modelText, next, []string{"old"}, []string{"next", "old", "web"}},
		"the first switch":              {State{Switching: &Switching{}}, "", next, nil, []string{"next"}},
		"without a model that is whole": {State{Deployed: good}, "{", "", []string{"web", "web"}, []string{"web"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			s.engine.Host = newFakeEngine(t, test.containers...).host
			err := s.store.update(func(st *State) { st.Deployed, st.Switching = test.state.Deployed, test.state.Switching })
			for file, text := range map[string]string{deployedModel: test.deployed, stagedModel: test.stage} {
				if text != "" {
					err = errors.Join(err, s.files.save(file, []byte(text)))
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			err = s.has(t.Context(), []string{"nobody"})
			if len(test.known) == 0 {
				if !errors.Is(err, ErrNothingDeployed) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err == nil || !strings.HasSuffix(err.Error(), "no such service: nobody; "+thereAre(test.known)) {
				t.Errorf("the error is %v, and there are %q", err, test.known)
			}
			if err := s.has(t.Context(), test.known); err != nil {
				t.Errorf("%q: %v", test.known, err)
			}
		})
	}
}

// The status says that the engine does not answer, and since when, whether it is gone or only
// hangs, and no longer once it answers.
func TestEngineIsAway(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	s, err := Open(Config{
		Name: "unit", Dir: t.TempDir(), Branch: "main", Timeout: time.Minute,
		Remote: gitrepo.Remote{URL: "file:///nonexistent/unit.git"}, Project: compose.Project{Host: "unix://" + socket},
	}, NewQueue(), hclog.NewNullLogger(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	look := func(patience time.Duration) string {
		ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("it is silent"))
		defer cancel()
		err, away := s.LookAtEngine(ctx), s.Status().EngineAway
		if err == nil != (away == "") {
			t.Errorf("the status is %q, the error %v", away, err)
		}
		return away
	}
	began := time.Now().Truncate(time.Second) // as it is shown
	gone := look(time.Minute)
	_, shown, _ := strings.Cut(gone, " (since ")
	since, err := time.Parse("2006-01-02 15:04:05 UTC)", shown)
	if err != nil || since.Before(began) || since.After(time.Now()) ||
		!strings.Contains(gone, "cannot reach the Docker engine") || !strings.Contains(gone, socket) {
		t.Errorf("without an engine: %q, %v", gone, err)
	}
	// Another reason is not another beginning.
	s.board.edit(func(st *Status) { st.AwaySince = st.AwaySince.Add(-time.Hour) })
	earlier := since.Add(-time.Hour).Format("(since 2006-01-02 15:04:05 UTC)")

	hangs := make(chan struct{})
	serveEngine(t, socket, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-hangs
		w.Header().Set("API-Version", "1.41")
	}))
	if away := look(50 * time.Millisecond); !strings.Contains(away, "the Docker engine does not answer: it is silent "+earlier) {
		t.Errorf("with one that hangs: %q", away)
	}
	close(hangs)
	if away, since := look(time.Minute), s.Status().AwaySince; away != "" || !since.IsZero() {
		t.Errorf("with one that answers: %q, since %s", away, since)
	}
}
