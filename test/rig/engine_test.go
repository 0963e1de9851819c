package rig

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// An engine comes back after it was killed, and nothing of it is left when the
// test ends.
func TestEngineIsOfItsOwn(t *testing.T) {
	var dir, project string
	try(t, func(t testing.TB) {
		r := New(t)
		e := r.Engine(&User{GID: 0})
		dir, project = e.dir, r.Prefix+"-x"
		run := func(name string) {
			e.Docker("run", "--detach", "--init", "--name", name, "--label", projectLabel+"="+project, e.Busybox(), "sleep", "86400")
		}
		run(project)
		if there, err := containers(project); len(there) > 0 || err != nil {
			t.Errorf("the machine's engine has its container: %v, %v", there, err)
		}
		e.Kill()
		e.Start()
		e.Stop()
		e.Start()
		if found, err := e.Containers(project); err != nil || len(found) != 1 || found[0].Running() {
			t.Errorf("after a stop there are %+v, %v", found, err)
		}
		e.Docker("start", project)
	}).isContent(t)
	nothingIsLeft(t, dir)
}

func nothingIsLeft(t *testing.T, dir string) {
	t.Helper()
	if left, err := engineProcesses(dir); len(left) > 0 || err != nil {
		t.Errorf("processes that are left: %v, %v", left, err)
	}
	if left, err := engineCgroups(dir); len(left) > 0 || err != nil {
		t.Errorf("cgroups that are left: %v, %v", left, err)
	}
	if left, err := mountsBelow(filepath.Dir(dir)); len(left) > 0 || err != nil {
		t.Errorf("mounts that are left: %v, %v", left, err)
	}
	for _, path := range []string{dir, "/run/netns/" + engineName(dir)} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

// The next run removes the engine of one that was killed. The process killed here
// is this test itself, run as a child.
func TestEngineOfAKilledRun(t *testing.T) {
	if testament := os.Getenv("RIG_TESTAMENT"); testament != "" {
		r := New(t)
		e := r.EngineOn(&User{GID: 0}, r.Disk("data", 64).Dir)
		e.Docker("run", "--detach", e.Busybox(), "sleep", "86400")
		r.write(testament, e.dir, 0o600)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	r := New(t)
	testament := filepath.Join(r.Dir, "testament")
	child := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	child.Env = append(os.Environ(), "RIG_TESTAMENT="+testament)
	said := Run(t, child)
	dir, err := os.ReadFile(testament)
	if err != nil {
		t.Fatalf("%v; the child said: %s", err, said.Stdout)
	}
	sweepLocked(t, filepath.Dir(filepath.Dir(string(dir))))
	nothingIsLeft(t, string(dir))
}

func TestDiskIsSmall(t *testing.T) {
	var dir string
	try(t, func(t testing.TB) {
		r := New(t)
		d := r.Disk("small", 2)
		dir = d.Dir
		d.Fill(16)
		big := make([]byte, 1<<20)
		if err := os.WriteFile(filepath.Join(d.Dir, "big"), big, 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("it takes more than it has room for: %v", err)
		}
		d.Clear()
		r.write(filepath.Join(d.Dir, "big"), string(big), 0o600)
		d.Resize(4)
		r.write(filepath.Join(d.Dir, "bigger"), strings.Repeat("x", 2<<20), 0o600)
	}).isContent(t)
	if mounts, err := mountsBelow(dir); len(mounts) > 0 || err != nil {
		t.Errorf("it is still mounted: %v, %v", mounts, err)
	}
}
