package supervisor

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/config"
	"pgo/internal/sshd"
	"pgo/internal/target"
)

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// await waits until so returns true.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func mark(t *testing.T, dir, text string) {
	t.Helper()
	mkdir(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "mark"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func marked(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "mark"))
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// me is the account of the user that runs this test.
func me() account { return account{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())} }

// A removed directory never takes the place of another one, whatever the clock says, and the
// newest comes back.
func TestRemovedDirectoriesAreKeptApart(t *testing.T) {
	s := newSupervisor(t)
	defer s.Close(t.Context())
	web := config.Service{Name: "web"}
	now := time.Date(2026, 11, 24, 22, 55, 12, 999, time.UTC)
	mark(t, s.data.removedPath("web-2", now.AddDate(1, 0, 0)), "another service's")
	mark(t, s.data.removedPath("web", now.AddDate(0, 0, -1))+"x", "nobody's")
	for n, want := range []struct {
		at   time.Time
		name string
	}{{now, "web-20261124T225512Z"}, {now, "web-20261124T225513Z"}, {now.AddDate(-1, 0, 0), "web-20261124T225514Z"}} {
		mark(t, s.data.service("web"), want.name)
		if to, err := s.data.moveAway("web", source(web), want.at); err != nil || to != filepath.Join(s.opts.Dir, "removed", want.name) {
			t.Errorf("%d: moved to %s: %v", n, to, err)
		}
	}
	if info, err := os.Stat(s.data.removed()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("removed directories are in %v: %v", info, err)
	}
	if dir, err := s.launcher.serviceDir(web, me()); err != nil || marked(t, dir) != "web-20261124T225514Z" {
		t.Errorf("the newest did not come back: %v", err)
	}
	if dir, err := s.launcher.serviceDir(web, me()); err != nil || marked(t, dir) != "web-20261124T225514Z" {
		t.Errorf("the present directory is replaced by a removed one: %v", err)
	}
	if entries, err := os.ReadDir(s.data.removed()); err != nil || len(entries) != 6 { // two of them with a label, and two of other services
		t.Errorf("left: %v: %v", entries, err)
	}
}

// Nobody gets another user's data back, and a symlink is not followed.
func TestWhatIsNotTheUsersDoesNotComeBack(t *testing.T) {
	s := newSupervisor(t)
	defer s.Close(t.Context())
	mark(t, s.data.service("web"), "old")
	web := config.Service{Name: "web"}
	if _, err := s.data.moveAway("web", source(web), time.Now()); err != nil {
		t.Fatal(err)
	}
	other := me()
	other.uid++
	if err := s.data.comeBack(web, other); err != nil {
		t.Error(err)
	}
	target := filepath.Join(t.TempDir(), "elsewhere")
	mark(t, target, "elsewhere")
	if err := os.Symlink(target, s.data.removedPath("link", time.Now())); err != nil {
		t.Fatal(err)
	}
	if err := s.data.comeBack(config.Service{Name: "link"}, me()); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"web", "link"} {
		if _, err := os.Lstat(s.data.service(name)); err == nil {
			t.Errorf("%s came back", name)
		}
	}
}

// A service does not get back what another repository or an unknown one had deployed. The token
// may differ.
func TestAnotherSourceBeginsAnew(t *testing.T) {
	log := &journal{}
	s := newSupervisorWith(t, hclog.New(&hclog.LoggerOptions{Output: log}), "")
	defer s.Close(t.Context())
	now := time.Date(2026, 11, 24, 22, 55, 12, 0, time.UTC)
	mark(t, s.data.removedPath("web", now), "of an older pgod")
	anew := func(service config.Service, from string) {
		t.Helper()
		if dir, err := s.launcher.serviceDir(service, me()); err != nil || os.Remove(dir) != nil {
			t.Errorf("it does not start afresh in %s: %v", dir, err)
		}
		if !strings.Contains(log.String(), "starts afresh") || !strings.Contains(log.String(), "directory="+from) {
			t.Errorf("the log does not say where %s is:\n%s", from, log)
		}
	}
	web := from(t, "https://old:S3CRET@git.example.org/web.git", "main")
	anew(web, s.data.removedPath("web", now))
	mark(t, s.data.service("web"), "web")
	old, err := s.data.moveAway("web", source(web), now)
	if err != nil {
		t.Fatal(err)
	}
	anew(from(t, "https://git.example.org/shop.git", "main"), old)
	anew(from(t, "https://git.example.org/web.git", "live"), old)
	if dir, err := s.launcher.serviceDir(from(t, "https://new:S3CRET@git.example.org/web.git", "main"), me()); err != nil || marked(t, dir) != "web" {
		t.Errorf("it does not come back: %v", err)
	}
	if _, err := os.Lstat(labelOf(old)); err == nil {
		t.Error("its label is left behind")
	}
}

// There is time for an entry to come back before its service is taken down, and nothing waits for
// the end of that time.
func TestRemovalBeginsLate(t *testing.T) {
	s := newSupervisor(t)
	s.grace = 200 * time.Millisecond
	web := config.Service{Name: "web", User: "nobody-has-this-name"}
	s.Apply([]config.Service{web}, nil, 0)
	began := time.Now()
	s.Apply(nil, nil, 0)
	if len(s.removing()) != 1 {
		t.Error("the pending removal is not shown")
	}
	await(t, "it to be removed", func() bool { return len(s.removing()) == 0 })
	if took := time.Since(began); took < s.grace {
		t.Errorf("it was removed after %s", took)
	}
	s.grace = time.Hour
	s.Apply([]config.Service{web}, nil, 0)
	s.Apply(nil, nil, 0)
	s.Apply([]config.Service{web}, nil, 0)
	select {
	case <-s.instance("web").view.judged:
	case <-time.After(time.Minute):
		t.Error("it waits for its removal")
	}
	s.Apply(nil, nil, 0)
	s.Close(t.Context())
}

// Trying out another configuration with pgod's usual directory is harmless.
func TestSweepSparesAnotherConfiguration(t *testing.T) {
	log := &journal{}
	s := newSupervisorWith(t, hclog.New(&hclog.LoggerOptions{Output: log}), "/root/try.toml")
	defer s.Close(t.Context())
	for name, configuration := range map[string]string{"real": "/etc/pgo.toml", "claimed": "/etc/pgo.toml", "tried": "/root/try.toml", "older": ""} {
		mark(t, s.data.service(name), name)
		s.records.change(func(all map[string]record) { all[name] = record{Source: "x", Configuration: configuration} })
	}
	mark(t, s.data.service("unknown"), "unknown")
	s.Apply([]config.Service{{Name: "claimed", User: "nobody-has-this-name"}}, nil, 0)
	_, _ = s.Sweep(nil, []string{"real", "tried", "older", "unknown"})
	var names []string
	for _, r := range s.removing() {
		names = append(names, r.Service)
	}
	if want := []string{"older", "tried", "unknown"}; !slices.Equal(names, want) {
		t.Errorf("removed: %v", names)
	}
	if text := log.String(); strings.Count(text, "belongs to another configuration") != 1 || !strings.Contains(text, "service=real configuration=/etc/pgo.toml") {
		t.Errorf("the log says:\n%s", text)
	}
	if got := s.records.get("claimed").Configuration; got != "/root/try.toml" {
		t.Errorf("the configured service belongs to %s", got)
	}
}

// At the start, services that are not configured are removed, and nothing else.
func TestSweep(t *testing.T) {
	log := &journal{}
	s := newSupervisorWith(t, hclog.New(&hclog.LoggerOptions{Output: log}), "")
	defer s.Close(t.Context())
	for _, name := range []string{"gone", "here", "elsewhere", "Lost+Found", "-x"} {
		mark(t, s.data.service(name), name)
	}
	if err := os.Symlink(t.TempDir(), s.data.service("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.data.service("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Apply([]config.Service{{Name: "here", User: "nobody-has-this-name"}}, nil, 0)
	_, _ = s.Sweep([]string{"elsewhere"}, nil)
	_, _ = s.Sweep([]string{"elsewhere"}, nil) // it is being removed already
	if all := s.removing(); len(all) != 1 || all[0].Service != "gone" {
		t.Errorf("removed: %v", all)
	}
	if n := strings.Count(log.String(), "not a service's directory: left alone"); n != 4 {
		t.Errorf("%d warnings:\n%s", n, log)
	}
	if n := strings.Count(log.String(), "configured for other machines"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, log)
	}
}

// An operator who asks for a service that is being removed is told so, and what prevents that;
// everybody else is told the same as a stranger.
func TestBeingRemovedIsShown(t *testing.T) {
	s := newSupervisor(t)
	mark(t, s.data.service("web"), "web")
	_, _ = s.Sweep(nil, []string{"web"})
	await(t, "a failed attempt", func() bool { return len(s.removing()) == 1 && s.removing()[0].Error != "" })
	session := sshd.Command{Command: target.Command{Service: "web", Operation: "ps"}}
	operation, _ := target.Lookup(target.Service, "ps")
	if _, exit := s.authorize(session, operation, true); exit.Status != target.StatusConflict || !strings.Contains(exit.Message, "is being removed: cannot ") {
		t.Errorf("an operator is told %+v", exit)
	}
	if _, exit := s.authorize(session, operation, false); exit.Status != target.StatusUnauthorized || strings.Contains(exit.Message, "remov") {
		t.Errorf("a stranger is told %+v", exit)
	}
	for args, want := range map[string]string{"": "web      removing", "--json": `"removing":[{"service":"web","since":"20`} {
		var out bytes.Buffer
		given := target.Args{}
		if args != "" {
			given.Given = []target.Given{{Flag: args}}
		}
		s.host.showStatus(t.Context(), sshd.Command{Stdout: &out}, given)
		if !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "cannot ") {
			t.Errorf("status %s shows %s", args, out.String())
		}
	}
	s.Close(t.Context())
	if got := marked(t, s.data.service("web")); got != "web" {
		t.Error("the directory of a service that could not be taken down was moved away")
	}
	if len(s.removals) != 0 {
		t.Errorf("still there: %v", s.removals)
	}
}
