package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgo/internal/config"
)

// A directory is lost when it is removed, moved away or replaced, and not when it is used.
func TestLostPlace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "web")
	if placeOf(dir).lost() {
		t.Error("what never was there is lost")
	}
	for name, change := range map[string]func() error{
		"removed":  func() error { return os.RemoveAll(dir) },
		"replaced": func() error { return os.Rename(dir, dir+".old") },
	} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		p := placeOf(dir)
		inUse, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer inUse.Close()
		if err := os.WriteFile(filepath.Join(dir, "state.json"), nil, 0o600); err != nil || p.lost() {
			t.Errorf("it is lost with a file in it, %v", err)
		}
		if err := change(); err != nil || !p.lost() {
			t.Errorf("%s: it is not lost, %v", name, err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil || !p.lost() {
			t.Errorf("%s: another one counts as the same, %v", name, err)
		}
	}
}

// A service that had a directory and has none is told apart from a new one, and its status says so
// until an operator has read it.
func TestDirectoryIsMadeAnew(t *testing.T) {
	s := newSupervisor(t)
	defer s.Close(t.Context())
	web := config.Service{Name: "web"}
	i := newInstance(s.launcher, web, nil)
	launch := func() {
		t.Helper()
		if _, err := s.launcher.errand(web, nil, s.opts.Logger, i.lost).dir(me()); err != nil {
			t.Fatal(err)
		}
	}
	warned := func() bool {
		return strings.Contains(strings.Join(seen{web, i.view.get()}.status(time.Now()).Warnings, "\n"), "was made anew")
	}
	if launch(); warned() {
		t.Error("a new service has lost its directory")
	}
	if launch(); warned() {
		t.Error("a service with a directory has lost it")
	}
	if err := os.RemoveAll(s.data.service("web")); err != nil {
		t.Fatal(err)
	}
	if launch(); !warned() {
		t.Error("a lost directory is not in the status")
	}
	if launch(); !warned() {
		t.Error("the next worker ends the warning")
	}
	if i.view.forgive(); warned() {
		t.Error("the warning cannot be ended")
	}
	i.view.lose(time.Now())
	i.state = backoff
	i.launcher = &launcher{opts: Options{Worker: "/nonexistent", Logger: s.opts.Logger}, lookups: s.launcher.lookups, starts: s.launcher.starts, data: s.data, sockets: s.launcher.sockets, records: s.records}
	go func() { <-i.events }() // the launch
	if err := i.onEndAsked(endAsked{}); err != nil || i.view.get().lost != (time.Time{}) {
		t.Errorf("a restart of a worker that is down does not end the warning: %v", err)
	}
	i.cancel()
}
