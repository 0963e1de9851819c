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

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
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

// me is the account of who runs this test.
func me() account { return account{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())} }

// What is moved away never takes another one's place, whatever the clock says, and the
// newest comes back.
func TestRemovedDirectoriesAreKeptApart(t *testing.T) {
	s := newSupervisor(t)
	defer s.Close(t.Context())
	now := time.Date(2026, 11, 24, 22, 55, 12, 999, time.UTC)
	mark(t, s.removedPath("web-2", now.AddDate(1, 0, 0)), "another service's")
	mark(t, s.removedPath("web", now.AddDate(0, 0, -1))+"x", "nobody's")
	for n, want := range []struct {
		at   time.Time
		name string
	}{{now, "web-20261124T225512Z"}, {now, "web-20261124T225513Z"}, {now.AddDate(-1, 0, 0), "web-20261124T225514Z"}} {
		mark(t, s.dirOf("web"), want.name)
		if to, err := s.moveAway("web", want.at); err != nil || to != filepath.Join(s.opts.Dir, "removed", want.name) {
			t.Errorf("%d: moved to %s: %v", n, to, err)
		}
	}
	if info, err := os.Stat(s.removedDir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("what is removed lies in %v: %v", info, err)
	}
	if dir, err := s.serviceDir("web", me()); err != nil || marked(t, dir) != "web-20261124T225514Z" {
		t.Errorf("the newest did not come back: %v", err)
	}
	if dir, err := s.serviceDir("web", me()); err != nil || marked(t, dir) != "web-20261124T225514Z" {
		t.Errorf("what is there is replaced by what was: %v", err)
	}
	if entries, err := os.ReadDir(s.removedDir()); err != nil || len(entries) != 4 {
		t.Errorf("left are %v: %v", entries, err)
	}
}

// Another user's data is nobody's to have back, and a symlink leads nowhere.
func TestWhatIsNotTheUsersDoesNotComeBack(t *testing.T) {
	s := newSupervisor(t)
	defer s.Close(t.Context())
	mark(t, s.removedPath("web", time.Now()), "old")
	other := me()
	other.uid++
	if err := s.comeBack("web", other); err != nil {
		t.Error(err)
	}
	target := filepath.Join(t.TempDir(), "elsewhere")
	mark(t, target, "elsewhere")
	if err := os.Symlink(target, s.removedPath("link", time.Now())); err != nil {
		t.Fatal(err)
	}
	if err := s.comeBack("link", me()); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"web", "link"} {
		if _, err := os.Lstat(s.dirOf(name)); err == nil {
			t.Errorf("%s came back", name)
		}
	}
}

// At the start what is not configured is removed, and nothing else.
func TestSweep(t *testing.T) {
	s := newSupervisor(t)
	log := &journal{}
	s.opts.Logger = hclog.New(&hclog.LoggerOptions{Output: log})
	defer s.Close(t.Context())
	for _, name := range []string{"gone", "here", "elsewhere", "Lost+Found", "-x"} {
		mark(t, s.dirOf(name), name)
	}
	if err := os.Symlink(t.TempDir(), s.dirOf("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.dirOf("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Apply([]config.Service{{Name: "here", User: "nobody-has-this-name"}}, nil, 0)
	s.Sweep([]string{"elsewhere"})
	s.Sweep([]string{"elsewhere"}) // it is being removed already
	if all := s.removing(); len(all) != 1 || all[0].name != "gone" {
		t.Errorf("removed are %v", all)
	}
	if n := strings.Count(log.String(), "left alone what is no service's directory"); n != 8 {
		t.Errorf("%d warnings:\n%s", n, log)
	}
	if n := strings.Count(log.String(), "configured for other machines"); n != 2 {
		t.Errorf("%d warnings:\n%s", n, log)
	}
}

// Who asks for a service that is being removed is told so if an operator, and what is in
// the way; everybody else is told what strangers are.
func TestBeingRemovedIsShown(t *testing.T) {
	s := newSupervisor(t)
	mark(t, s.dirOf("web"), "web")
	s.Sweep(nil)
	await(t, "a try that does not work", func() bool { return len(s.removing()) == 1 && s.removing()[0].trouble != "" })
	session := sshd.Session{Command: target.Command{Service: "web", Operation: "ps"}}
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
		s.showHostStatus(t.Context(), sshd.Session{Stdout: &out}, given)
		if !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "cannot ") {
			t.Errorf("status %s shows %s", args, out.String())
		}
	}
	s.Close(t.Context())
	if got := marked(t, s.dirOf("web")); got != "web" {
		t.Error("what could not be taken down was moved away")
	}
	if len(s.removals) != 0 {
		t.Errorf("still there: %v", s.removals)
	}
}

// What root remembers outlives it, until the service is removed.
func TestServicesAreNoted(t *testing.T) {
	s := newSupervisor(t)
	rootless := config.Service{Name: "web", User: "nobody-has-this-name", DockerHost: "unix:///run/user/1/docker.sock"}
	s.Apply([]config.Service{rootless, {Name: "db", User: "nobody-has-this-name"}}, nil, 0)
	s.Apply([]config.Service{{Name: "db", User: "nobody-has-that-name"}}, nil, 0)
	await(t, "what has no directory to be removed", func() bool { return len(s.removing()) == 0 })
	s.Close(t.Context())
	after, err := loadNotes(s.opts.Dir)
	if want := (noted{User: "nobody-has-that-name"}); err != nil || len(after) != 1 || after["db"] != want {
		t.Errorf("noted is %v: %v", after, err)
	}
	if info, err := os.Stat(filepath.Join(s.opts.Dir, notes)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("it is noted in %v: %v", info, err)
	}
}

// Who was kept from the host's engine does not get it for the removal, and neither does
// somebody of whom pgod knows nothing.
func TestRemovalGivesNoRights(t *testing.T) {
	docker, err := dockerGID(t.Context())
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	for _, test := range []struct {
		noted noted
		has   bool
	}{
		{noted{}, false},
		{noted{User: "nobody-has-this-name", DockerHost: "unix:///run/user/1/docker.sock"}, false},
		{noted{User: "nobody-has-this-name"}, true},
	} {
		got, err := test.noted.account(t.Context(), dir)
		if err != nil || got.uid != me().uid || slices.Contains(got.groups, docker) != test.has {
			t.Errorf("%+v: %+v %v", test.noted, got, err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if got, err := (noted{}).account(t.Context(), link); err == nil {
		t.Errorf("a symlink's target is whose it is: %+v", got)
	}
}
