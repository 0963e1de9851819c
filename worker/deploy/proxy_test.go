package deploy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/gittest"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// A proxy is told about what is written, and about nothing else. It is told again if
// somebody changed the file, which it may have read meanwhile.
func TestWhatTheProxyKnows(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{
		Name: "unit", Dir: dir, Branch: "main", Timeout: time.Minute, Proxy: &Proxy{Import: "caddy/import"},
		Remote: gitrepo.Remote{URL: "file:///nonexistent/unit.git"},
	}, NewQueue(), hclog.NewNullLogger(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.proxy.write(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.files.checkout(), "caddy/import")); err == nil {
		t.Error("the snippet was written before its content was known")
	}
	s.Adjust(Neighbours{Snippet: "one"})
	// knows writes the snippet and reports whether the proxy knows it.
	knows := func() bool {
		t.Helper()
		if err := s.proxy.write(nil); err != nil {
			t.Fatal(err)
		}
		return s.store.snapshot().snippet().Known == s.proxy.identify([]byte(s.around.latest.Snippet))
	}
	if knows() {
		t.Error("the proxy knows a snippet that it never read")
	}
	if err := s.proxy.startsKnowing(nil); err != nil {
		t.Fatal(err)
	}
	if !knows() {
		t.Error("the proxy does not know the snippet that it read when it started")
	}
	if err := os.WriteFile(filepath.Join(s.files.checkout(), "caddy/import"), []byte("two"), 0o644); err != nil {
		t.Fatal(err)
	}
	if knows() {
		t.Error("the proxy knows a snippet that replaced a changed file")
	}
	if err := s.proxy.tell(t.Context(), nil); err != nil || knows() {
		t.Errorf("a proxy that never ran was told: %v", err)
	}
	if err := s.store.update(func(st *State) { st.Deployed = &Record{} }); err != nil {
		t.Fatal(err)
	}
	if err := s.proxy.tell(t.Context(), nil); err != nil || !knows() {
		t.Errorf("the proxy was told, and does not know the snippet: %v", err)
	}
	s.Adjust(Neighbours{Snippet: "two"})
	if knows() {
		t.Error("the proxy knows a new snippet that it has not read")
	}
}

// The time when the snippet was written belongs to its path: another `import` is another
// file.
func TestAnotherImport(t *testing.T) {
	s := open(t, t.TempDir())
	s.Adjust(Neighbours{Snippet: "one"})
	for _, name := range []string{"caddy/one", "caddy/two", "caddy/one"} {
		s.proxy.entry = &Proxy{Import: name, Service: "caddy"}
		s.proxy.note(errors.New("it cannot be written"))
		if got, want := *s.Status().Snippet, (Snippet{Error: "it cannot be written"}); got != want {
			t.Errorf("before %s is written the status has %+v", name, got)
		}
		if err := s.proxy.write(nil); err != nil {
			t.Fatal(err)
		}
		if got := s.Status().Snippet; got.Import != name || got.WrittenAt.IsZero() || got.Reload != Pending {
			t.Errorf("when %s is written the status has %+v", name, got)
		}
		if err := s.proxy.startsKnowing(nil); err != nil {
			t.Fatal(err)
		}
		if got := s.Status().Snippet; got.WrittenAt.IsZero() {
			t.Errorf("when the proxy has read %s the status has %+v", name, got)
		}
	}
}

// If `import` names a directory, the error does not advise to remove it from the
// repository, and no warning is about how it is mounted.
func TestPlaceForSnippet(t *testing.T) {
	remote := gittest.NewRepo(t, filepath.Join(t.TempDir(), "app"))
	remote.Write("caddy/Caddyfile", "import import")
	remote.Commit("a commit")
	s, err := Open(Config{
		Name: "unit", Dir: t.TempDir(), Branch: "main", Timeout: time.Minute, Proxy: &Proxy{},
		Remote: gitrepo.Remote{URL: "file://" + remote.Dir},
	}, NewQueue(), hclog.NewNullLogger(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	commit, err := s.repo.Look(t.Context())
	if err == nil {
		err = s.repo.Fetch(t.Context(), commit)
	}
	if err == nil {
		err = s.store.update(func(st *State) { st.Checkout = []gitrepo.Hash{commit} })
	}
	if err != nil {
		t.Fatal(err)
	}
	model, err := compose.Decode([]byte(strings.Replace(routesModel, "/checkout/caddy", filepath.Join(s.files.checkout(), "caddy"), 1)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"caddy/import":           "",
		"caddy":                  "caddy is a directory in the repository: `import` takes the path of a file, such as caddy/Caddyfile-import",
		"caddy/Caddyfile":        "the repository has caddy/Caddyfile, which pgo writes (`import`): take it out with git rm --cached, and add it to .gitignore",
		"caddy/Caddyfile/import": "the repository has caddy/Caddyfile, which is not a directory: pgo cannot write caddy/Caddyfile/import (`import`) in it",
	} {
		s.proxy.entry = &Proxy{Import: name}
		got := ""
		if err := s.proxy.placeIn(commit); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if warnings := s.work.advice.unseenSnippet(model); warnings != nil {
			t.Errorf("%s: %q", name, warnings)
		}
	}
}

// A reload that takes too long is reported in the same words each time: whatever breaks
// because of it is not new.
func TestReloadTakesTooLong(t *testing.T) {
	s := open(t, t.TempDir())
	s.proxy.entry = &Proxy{Service: "caddy", Command: []string{"caddy", "reload"}}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("it did not end"))
	err := s.proxy.reloadIn(ctx, 1)
	if want := "cannot reload the proxy: caddy reload in caddy: it did not end"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// The status has the last output of the proxy's container. The log says once that something
// is wrong, without that output.
func TestProxyTrouble(t *testing.T) {
	s := open(t, t.TempDir())
	s.proxy.entry = &Proxy{}
	var log strings.Builder
	s.proxy.log = hclog.New(&hclog.LoggerOptions{Output: &log})
	for _, step := range []struct {
		err  error
		want string
		logs int
	}{
		{&reloadError{"status 1", "line 5"}, "status 1: line 5", 1},
		{&reloadError{"status 1", "line 7"}, "status 1: line 7", 1},
		{&reloadError{"status 2", ""}, "status 2", 2},
		{nil, "", 2},
		{nil, "", 2},
		{&reloadError{"status 2", "line 7"}, "status 2: line 7", 3},
	} {
		s.proxy.note(step.err)
		if got := s.Status().Snippet.Error; got != step.want {
			t.Errorf("the status has %q, want %q", got, step.want)
		}
		if n := strings.Count(log.String(), "[ERROR]"); n != step.logs || strings.Contains(log.String(), "line") {
			t.Errorf("after %v the log is %q", step.err, log.String())
		}
	}
}

// A commit with something in the snippet's place is tried again when the place changes, and
// not for any other change of the proxy.
func TestAnotherPlaceForTheSnippet(t *testing.T) {
	here := Config{Proxy: &Proxy{Import: "caddy/import"}}
	state := State{Verdict: &Verdict{Basis: Basis{Commit: named("c"), Settings: here.settings()}, Outcome: Failed}}
	for name, test := range map[string]struct {
		proxy     *Proxy
		condemned bool
	}{
		"the same":      {&Proxy{Import: "caddy/import", Service: "caddy", Command: []string{"reload"}}, true},
		"another place": {&Proxy{Import: "caddy/other"}, false},
		"no proxy":      {nil, false},
	} {
		if got := state.condemns(Basis{Commit: named("c"), Settings: Config{Proxy: test.proxy}.settings()}); got != test.condemned {
			t.Errorf("%s: condemned: %v", name, got)
		}
	}
}

// A reload that fails is tried less and less often: each attempt takes the service's turn.
func TestReloadBackoff(t *testing.T) {
	var b reloadBackoff
	last := time.Duration(0)
	for range 12 {
		before := time.Now()
		b.note(errors.New("no"))
		if wait := b.until.Sub(before); wait < last || b.delay > mostReloadDelay || b.why == nil {
			t.Fatalf("after %s it waits %s", last, wait)
		}
		last = b.delay
	}
	if last != mostReloadDelay {
		t.Errorf("the longest wait is %s", last)
	}
	if b.note(nil); b != (reloadBackoff{}) {
		t.Errorf("after a reload that worked: %+v", b)
	}
}
