package rig

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A test process that is killed leaves users, processes and containers behind;
// the next run's sweep must find them. The process killed here is this test
// itself, run as a child.
func TestKilledRunIsClearedUp(t *testing.T) {
	if testament := os.Getenv("RIG_TESTAMENT"); testament != "" {
		dieWithFullHands(t, testament)
	}
	r := New(t)
	testament := filepath.Join(r.Dir, "testament")
	child := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	child.Env = append(os.Environ(), "RIG_TESTAMENT="+testament)
	if result := Run(t, child); child.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child did not die as planned: %+v", result)
	}
	left, err := os.ReadFile(testament)
	if err != nil {
		t.Fatal(err)
	}
	dir, rest, _ := strings.Cut(string(left), "\n")
	name, project, _ := strings.Cut(rest, "\n")
	sweepLocked(t, dir)

	if _, err := user.Lookup(name); err == nil {
		t.Errorf("the user %s is still there", name)
	}
	if left, err := containers(project); len(left) > 0 || err != nil {
		t.Errorf("containers that are left: %v, %v", left, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", dir, err)
	}
}

func TestLivingRunIsLeftAlone(t *testing.T) {
	r := New(t)
	u := r.User("ann")
	sweepLocked(t, r.run.dir)
	if _, err := user.Lookup(u.Name); err != nil {
		t.Error(err)
	}
}

func TestRunTouchesNothingOfOthers(t *testing.T) {
	if err := New(t).run.remove(kindUser, "root"); err == nil || !strings.Contains(err.Error(), "does not belong to") {
		t.Errorf("removing root: %v", err)
	}
}

// dieWithFullHands notes what it has made and is killed.
func dieWithFullHands(t *testing.T, testament string) {
	r := New(t)
	u, project := r.User("eve"), r.Prefix+"-web"
	up(t, r, project, r.Site(r.Port(), "hello"))
	if err := u.Command("sleep", "3600").Start(); err != nil {
		t.Fatal(err)
	}
	r.write(testament, r.run.dir+"\n"+u.Name+"\n"+project, 0o600)
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {}
}

// sweepLocked sweeps as the beginning of a run does. Where another run has
// begun and swept before, there is nothing left to do.
func sweepLocked(t *testing.T, dir string) {
	t.Helper()
	unlock, err := lockMachine(beginOrEnd)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := sweep(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}
