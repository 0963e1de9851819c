package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"pgo/supervisor"
)

// Where pgoctl finds pgod's directory is written again at each reload, also at one that fails, and
// is removed at the end, unless another pgod has written it.
func TestReloadShowsTheDirectoryAgain(t *testing.T) {
	log := hclog.NewNullLogger()
	path := filepath.Join(t.TempDir(), "none.toml")
	r := &reloader{
		flags: flags{config: path}, workers: &supervisor.Supervisor{Configuration: &supervisor.Configuration{}},
		watcher: newWatcher(path, log), log: log, sshPort: 2222, dir: "/var/lib/pgo", runDir: t.TempDir(),
	}
	file := filepath.Join(r.runDir, "port-2222")
	for range 2 {
		if _, err := r.reloadUnasked(); err == nil {
			t.Error("there is a configuration")
		}
		if text, err := os.ReadFile(file); err != nil || string(text) != "/var/lib/pgo\n" {
			t.Fatalf("it says %q, %v", text, err)
		}
		r.hideDir()
		if _, err := os.Stat(file); err == nil {
			t.Error("it is left behind")
		}
	}
	if err := os.WriteFile(file, []byte("/another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r.hideDir(); os.Remove(file) != nil {
		t.Error("another pgod's is removed")
	}
}
