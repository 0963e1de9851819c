package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/config"
	"pgo/internal/sshd"
	"pgo/supervisor"
)

// A reload that would remove most services removes them only if all of them are confirmed: the file
// may have changed since somebody has looked.
func TestReloadRemovesWhatIsConfirmed(t *testing.T) {
	log := hclog.NewNullLogger()
	dir := t.TempDir()
	path := filepath.Join(dir, "pgo.toml")
	workers, err := supervisor.New(supervisor.Options{Dir: dir, SocketDir: filepath.Join(dir, "run"), Worker: "/nonexistent", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer workers.Close(t.Context())
	r := &reloader{
		flags: flags{config: path}, options: config.Options{DefaultInterval: time.Minute}, workers: workers, server: sshd.New(sshd.Options{Backend: workers, Logger: log}),
		watcher: newWatcher(path, log), log: log, dir: dir, runDir: dir,
	}
	write := func(names ...string) {
		t.Helper()
		text := "services = []\n"
		if len(names) > 0 {
			text = ""
		}
		for _, name := range names {
			text += fmt.Sprintf("[[services]]\nname = %q\nuser = \"nobody-has-this-name\"\nrepository = \"https://git.example.com/x.git\"\n", name)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	removes := func(confirmed []string, want string) {
		t.Helper()
		reloaded, err := r.told(confirmed)
		if got := strings.Join(reloaded.Removed, " "); got != want || want == "" && !errors.As(err, new(*supervisor.Loss)) || want != "" && err != nil {
			t.Errorf("with %q confirmed, removed: %q, %v", confirmed, got, err)
		}
	}
	write("a", "b", "c")
	if reloaded, err := r.reloadUnasked(); err != nil || len(reloaded.Added) != 3 {
		t.Fatalf("added: %q, %v", reloaded.Added, err)
	}
	write("c")
	removes(nil, "")
	write() // meanwhile
	removes([]string{"a", "b"}, "")
	removes([]string{"a", "b", "d"}, "")
	removes([]string{"d", "c", "b", "a"}, "a b c")
}

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
