package deploy

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/gittest"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// events are what happens, in order.
type events struct {
	mu  sync.Mutex
	all []string
}

func (e *events) add(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, what)
}

func (e *events) take() (all []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	all, e.all = e.all, nil
	return all
}

// followed is a service with a git server whose requests are among the events, like the commits
// that are staged. Its engine is away.
func followed(t *testing.T) (s *Service, remote *gittest.Repo, seen *events) {
	t.Helper()
	root := t.TempDir()
	remote, seen = gittest.NewRepo(t, filepath.Join(root, "app")), &events{}
	handler := gittest.Handler(root, "", t.Output())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.add("git")
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	cfg := Config{
		Name: "unit", Dir: t.TempDir(), Branch: "main", Timeout: time.Minute, Remote: gitrepo.Remote{URL: server.URL + "/app"},
		Project: compose.Project{Plugin: "/bin/false", Host: "unix:///nonexistent/docker.sock"},
	}
	cfg.OnStep = func(step Step) {
		if step == StepStage {
			seen.add(s.board.get().Activity)
		}
	}
	s, err := Open(cfg, NewQueue(), hclog.NewNullLogger(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	s.work.prover.versionsFine = true // which would ask the engine
	return s, remote, seen
}

// A worker that finds an interrupted switch starts what it has before it asks the git server. If
// that does not work, the server may have something that does.
func TestInterruptedSwitchStartsFirst(t *testing.T) {
	s, remote, seen := followed(t)
	remote.Write("compose.yaml", "services: {}\n")
	remote.Commit("begun")
	begun, err := s.branch.fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.store.update(func(st *State) { st.Switching = &Switching{Commit: begun} }); err != nil {
		t.Fatal(err)
	}
	remote.Write("compose.yaml", "services: {web: {}}\n")
	newer := remote.Commit("newer")[:7]

	seen.take()
	if err := turn(s).Poll(t.Context()); err == nil {
		t.Fatal("it worked without an engine")
	}
	if all := seen.take(); len(all) < 2 || all[0] != "stage "+begun.Short() || all[1] != "git" {
		t.Errorf("the first poll: %q", all)
	}
	if head, _ := s.Hash(); head.Short() != newer {
		t.Errorf("the head is %s, want %s", head.Short(), newer)
	}
	if err := turn(s).Poll(t.Context()); err == nil {
		t.Fatal("it worked without an engine")
	}
	if all := seen.take(); len(all) == 0 || all[0] != "stage "+newer {
		t.Errorf("the second poll: %q", all)
	}

	// A commit that is not here has to be fetched before.
	if err := s.store.update(func(st *State) { st.Switching = &Switching{Commit: named("lost")} }); err != nil {
		t.Fatal(err)
	}
	s.work.faults = faults{}
	if err := turn(s).Poll(t.Context()); err == nil {
		t.Fatal("it worked without an engine")
	}
	if all := seen.take(); !slices.Equal(all, []string{"git", "stage " + newer}) {
		t.Errorf("with a lost commit: %q", all)
	}
}
