package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/gittest"
	"pgo/internal/target"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

func TestStateOutlivesTheWorker(t *testing.T) {
	dir := t.TempDir()
	s, err := loadState(dir)
	if err != nil || s.Wanted != Up {
		t.Fatalf("a new service: %+v, %v", s, err)
	}
	s = State{
		Wanted:    Down,
		Switching: &Switching{Commit: named("b"), Back: 3, Freeze: &Frozen{By: "miek"}},
		Checkout:  []gitrepo.Hash{named("a"), named("b")},
		Deployed: &Record{
			Number: 4, Basis: Basis{Commit: named("a"), Settings: "s", Limits: "l"}, At: time.Now().UTC().Round(0), Trigger: "poll", Reason: "first deploy", Outcome: Deployed,
			Inputs: map[string]string{"conf": "x"}, Images: map[string]string{"web": "sha256:1"},
		},
		Verdict: &Verdict{Basis: Basis{Commit: named("c")}, Outcome: Refused, Error: "no", Details: []string{"why"}},
	}
	if err := s.save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := loadState(dir)
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("saved %+v, loaded %+v, %v", s, got, err)
	}
	info, err := os.Stat(filepath.Join(dir, "state.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// Guessing what is wanted could start what somebody has stopped.
func TestDamagedStateIsAnError(t *testing.T) {
	for _, content := range []string{"", "{", `{"wanted":"sideways"}`, "null"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadState(dir); err == nil || !strings.Contains(err.Error(), "state.json is damaged") {
			t.Errorf("%q: error %v", content, err)
		}
	}
}

// With a damaged state nothing is changed, and the service can still be inspected.
func TestDamagedStateStopsChanges(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	for name, change := range map[string]func() error{
		"poll": func() error { return turn(s).Poll(t.Context()) },
		"down": func() error { return turn(s).Down(t.Context(), target.Args{}, compose.Output{}) },
		"up web": func() error {
			return turn(s).Up(t.Context(), "miek", target.Args{Services: []string{"web"}}, compose.Output{})
		},
	} {
		if err := change(); err == nil || !strings.Contains(err.Error(), "state.json is damaged") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, "state.json")); err != nil || string(got) != "{" {
		t.Errorf("the damaged state was replaced by %q, %v", got, err)
	}
	if got := s.Status().Error; !strings.Contains(got, "state.json is damaged") {
		t.Errorf("status says %q", got)
	}
	if err := os.Remove(filepath.Join(dir, "state.json")); err != nil {
		t.Fatal(err)
	}
	if err := s.store.usable(); err != nil || s.Status().Wanted != Up {
		t.Errorf("once it is repaired: %v, %+v", err, s.Status())
	}
}

func TestDifferent(t *testing.T) {
	a := map[string]string{"same": "1", "changed": "1", "gone": "1", "both-absent": ""}
	b := map[string]string{"same": "1", "changed": "2", "new": "1", "both-absent": ""}
	if got, want := different(a, b), []string{"changed", "gone", "new"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReason(t *testing.T) {
	c := &candidate{changes: []string{"compose.yaml changed", "conf changed"}, contexts: []string{"app"}}
	if got, want := c.reason(), "compose.yaml changed, conf changed and build context app changed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c = &candidate{contexts: []string{"app"}}
	if got, want := c.reason(), "build context app changed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A commit with a submodule from elsewhere is not tried again, unless the operator lets
// submodules come from other servers than before.
func TestSubmoduleFromElsewhere(t *testing.T) {
	dir := t.TempDir()
	remote := gittest.NewRepo(t, filepath.Join(t.TempDir(), "app"))
	remote.Write(".gitmodules", "[submodule \"lib\"]\n\tpath = lib\n\turl = http://ada:word@127.0.0.1:1/lib\n")
	if err := os.Mkdir(filepath.Join(remote.Dir, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	remote.Git("update-index", "--add", "--cacheinfo", "160000,1234567890123456789012345678901234567890,lib")
	remote.Commit("a commit")
	cfg := Config{Name: "unit", Dir: dir, Branch: "main", Timeout: time.Minute, Remote: gitrepo.Remote{URL: "file://" + remote.Dir}}
	for _, test := range []struct {
		listed    []string
		condemned bool
	}{
		{nil, true},
		{[]string{"https://127.0.0.1:1"}, true}, // another one
		{[]string{"http://127.0.0.1:1"}, false}, // where nobody listens, which is not the commit's fault
	} {
		cfg.Remote.Submodules = test.listed
		s, err := Open(cfg, NewQueue(), hclog.NewNullLogger(), func() {})
		if err != nil {
			t.Fatal(err)
		}
		commit, err := s.branch.fetch(t.Context())
		if err == nil {
			err = s.work.prover.stageCommit(t.Context(), commit)
		}
		if err != nil {
			t.Fatal(err)
		}
		if s.store.snapshot().condemns(s.around.basis(commit)) {
			t.Errorf("with %q listed it is not tried again", test.listed)
		}
		err = s.work.prover.provided(t.Context(), commit, []string{"lib/conf"})
		if err == nil || isVerdict(err) != test.condemned || strings.Contains(err.Error(), "word") ||
			test.condemned != strings.HasSuffix(err.Error(), `an operator can allow = ["submodule:http://127.0.0.1:1"]`) {
			t.Errorf("with %q listed the error is %v", test.listed, err)
		}
		_ = s.work.remember(s.work.prover.newRecord(commit, "poll"), err, true)
		if got := s.store.snapshot().condemns(s.around.basis(commit)); got != test.condemned {
			t.Errorf("with %q listed it is condemned: %v", test.listed, got)
		}
	}
	if a, b := (Config{}).settings(), (Config{Remote: gitrepo.Remote{URL: "file:///srv/app"}}).settings(); a != b {
		t.Error("an empty list changes the settings")
	}
}

// open opens a service whose repository does not exist.
func open(t *testing.T, dir string) *Service {
	t.Helper()
	s, err := Open(Config{
		Name: "unit", Dir: dir, Branch: "main", Timeout: time.Minute,
		Remote: gitrepo.Remote{URL: "file:///nonexistent/unit.git"},
	}, NewQueue(), hclog.NewNullLogger(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpenMakesWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for name, want := range map[string]os.FileMode{"checkout": 0o755, "stage": 0o700, "docker": 0o700, "docker/config.json": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode().Perm(), want)
		}
	}
	if _, err := s.Hash(); !errors.Is(err, ErrNothingFetched) {
		t.Errorf("hash: %v", err)
	}
	if _, _, known := s.Keys(); known {
		t.Error("keys are known before anything was fetched")
	}
}

// An error stays in the status, with the time when it began, until all is well.
func TestStatusKeepsErrors(t *testing.T) {
	s := open(t, t.TempDir())
	if err := turn(s).Poll(t.Context()); err == nil {
		t.Fatal("a repository that does not exist was polled")
	}
	first := s.Status()
	if first.Error == "" || first.ErrorSince.IsZero() || first.Activity != Idle {
		t.Errorf("status %+v", first)
	}
	_ = turn(s).Poll(t.Context())
	if again := s.Status(); again.ErrorSince != first.ErrorSince {
		t.Errorf("the same error began at %v, then at %v", first.ErrorSince, again.ErrorSince)
	}
	s.board.ended("", nil)
	if got := s.Status(); got.Error != "" || !got.ErrorSince.IsZero() {
		t.Errorf("status %+v", got)
	}
}

// A git server that is gone is shown while a change runs, and for as long as it is gone. What was
// wrong before stays.
func TestStatusShowsAFailedRefresh(t *testing.T) {
	root := t.TempDir()
	gittest.NewRepo(t, filepath.Join(root, "app")).Commit("first")
	var gone atomic.Bool
	git := gittest.Handler(root, "", t.Output())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gone.Load() {
			http.Error(w, "gone", http.StatusBadGateway)
			return
		}
		git.ServeHTTP(w, r)
	}))
	defer server.Close()
	s, err := Open(Config{
		Name: "unit", Dir: t.TempDir(), Branch: "main", Timeout: time.Minute, Remote: gitrepo.Remote{URL: server.URL + "/app"},
	}, NewQueue(), hclog.NewNullLogger(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	const away = "its server answers 502 Bad Gateway"
	check := func(want string) {
		t.Helper()
		s.Refresh(t.Context())
		if got := s.Status(); !strings.Contains(got.Error, want) || (want == "") != (got.Error == "") || (want == "") != got.ErrorSince.IsZero() {
			t.Errorf("the error is %q since %v, want %q", got.Error, got.ErrorSince, want)
		}
	}
	check("")
	gone.Store(true)
	check(away)
	since := s.Status().ErrorSince
	check(away)
	if again := s.Status().ErrorSince; again != since {
		t.Errorf("the same error began at %v, then at %v", since, again)
	}
	gone.Store(false)
	check("")

	s.board.ended(Degraded, errors.New("not healthy"))
	gone.Store(true)
	check("not healthy")
	gone.Store(false)
	check("not healthy")
	gone.Store(true)
	s.board.ended(Deployed, nil)
	check(away)
}

func TestVerdictOutlivesTheWorker(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.store.update(func(st *State) {
		st.Verdict = &Verdict{Basis: Basis{Commit: named("c")}, Outcome: Failed, At: time.Now(), Error: "does not build"}
	}); err != nil {
		t.Fatal(err)
	}
	if got := open(t, dir).Status(); got.Error != "does not build" || got.Outcome != Failed {
		t.Errorf("status %+v", got)
	}
}

// After somebody ran down, the service is taken down as soon as that works, and then left
// alone.
func TestDownIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	broken, calls := filepath.Join(dir, "broken"), filepath.Join(dir, "calls")
	s.files.project.Plugin = filepath.Join(dir, "plugin")
	script := "#!/bin/sh\necho >>" + calls + "\n! test -e " + broken + "\n"
	if err := errors.Join(os.WriteFile(s.files.project.Plugin, []byte(script), 0o755), os.WriteFile(broken, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := turn(s).Down(t.Context(), target.Args{}, compose.Output{}); err == nil {
		t.Fatal("down worked")
	}
	for range 2 {
		if err := turn(s).Poll(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot take down") || s.Status().Outcome != Failed {
			t.Errorf("poll: %v, %+v", err, s.Status())
		}
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := turn(s).Poll(t.Context()); err == nil || !strings.Contains(err.Error(), "unit.git") {
			t.Errorf("poll: %v", err)
		}
	}
	if got, err := os.ReadFile(calls); err != nil || len(got) != 4 {
		t.Errorf("compose was called %d times, %v", len(got), err)
	}
}

// A missing compose on this host says nothing about the commit.
func TestNoVerdictWithoutCompose(t *testing.T) {
	s := open(t, t.TempDir())
	s.files.project.Plugin = "/nonexistent/docker-compose"
	if err := os.WriteFile(filepath.Join(s.files.stage(), "compose.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := s.files.project.Resolve(t.Context(), s.files.stage())
	if err == nil || errors.Is(err, compose.ErrNoModel) || errors.Is(err, compose.ErrNoFile) {
		t.Errorf("error %v", err)
	}
}

// named returns a commit of which only the name counts.
func named(name string) (commit gitrepo.Hash) {
	copy(commit[:], name)
	return commit
}

// A state from before commits had a type of their own, and one without a commit.
func TestStateOfEarlierVersions(t *testing.T) {
	const digits = "1234567890abcdef1234567890abcdef12345678"
	const text = `{"wanted":"up","deployed":{"number":1,"commit":"` + digits + `","settings":"s","limits":"l","at":"2026-01-02T03:04:05Z",` +
		`"duration":1,"trigger":"poll","reason":"first deploy","outcome":"deployed","tree":"` + digits + `"},"switching":{"commit":"` + digits + `"},` +
		`"checkout":["` + digits + `"],"verdict":{"commit":"","settings":"","limits":"","outcome":"failed","at":"2026-01-02T03:04:05Z","error":"no"},` +
		`"pin":{"commit":"` + digits + `","by":"miek","until":"2026-01-02T03:04:05Z"},"deploys":1,"containers":{}}`
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := loadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range append(s.Checkout, s.Deployed.Commit, s.Deployed.Tree, s.Switching.Commit, s.Pin.Commit) {
		if got.String() != digits {
			t.Errorf("loaded %q", got)
		}
	}
	if !s.Verdict.Commit.IsZero() {
		t.Errorf("the verdict is on %s", s.Verdict.Commit)
	}
	if err := s.save(dir); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if saved, err := os.ReadFile(filepath.Join(dir, "state.json")); err != nil || json.Compact(&again, saved) != nil || again.String() != text {
		t.Errorf("saved %s, %v, want %s", again.String(), err, text)
	}
}

// turn returns what the queue would give to a change.
func turn(s *Service) *Turn { return &Turn{s.work} }
