package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/config"
)

func newSupervisor(t *testing.T) *Supervisor {
	t.Helper()
	return newSupervisorWith(t, hclog.NewNullLogger(), "")
}

func newSupervisorWith(t *testing.T, log hclog.Logger, configuration string) *Supervisor {
	t.Helper()
	dir := t.TempDir()
	s, err := New(Options{Dir: dir, SocketDir: filepath.Join(dir, "run"), Worker: "/nonexistent", Logger: log, Configuration: configuration})
	if err != nil {
		t.Fatal(err)
	}
	s.grace = time.Millisecond
	return s
}

// A service that is back in the configuration waits for the end of its old worker: there must
// never be two.
func TestServiceThatComesBackWaits(t *testing.T) {
	s := newSupervisor(t)
	service := config.Service{Name: "web", User: "nobody-has-this-name"}
	old := newInstance(s.launcher, service, nil) // which does not run yet, and so does not end
	s.instances["web"] = old
	s.Apply(nil, nil, 0)
	s.Apply([]config.Service{service}, nil, 0)
	next := s.instance("web")
	if next == nil || next == old {
		t.Fatal("there is no new instance")
	}
	select {
	case <-next.view.judged:
		t.Error("the new worker was launched while the old one was running")
	case <-time.After(100 * time.Millisecond):
	}
	old.run()
	<-next.view.judged
	s.Close(t.Context())
	if len(s.removals) != 0 {
		t.Errorf("still leaving: %v", s.removals)
	}
}

// In a directory that others can write to, they could replace the host key.
func TestOthersDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if err := checkDir(link); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, link} {
		if _, err := New(Options{Dir: name, SocketDir: filepath.Join(dir, "run")}); err == nil || !strings.Contains(err.Error(), "cannot trust") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// A pgod that was killed may have created the directory and not handed it over.
func TestDirectoryIsHandedOver(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	s := newSupervisor(t)
	defer s.Close(t.Context())
	dir := filepath.Join(s.opts.Dir, "services", "web")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	user, web := account{uid: 65534, gid: 65534}, config.Service{Name: "web"}
	if _, err := s.launcher.serviceDir(web, user); err != nil || !ownedBy(dir, user.uid) {
		t.Errorf("an empty one of root: %v", err)
	}
	if _, err := s.launcher.serviceDir(web, account{uid: 65533}); err == nil {
		t.Error("another user's directory is handed over")
	}
	if err := os.Chown(dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.launcher.serviceDir(web, user); err == nil {
		t.Error("a directory with something in it is handed over")
	}
}
