package test

import (
	"bytes"
	"fmt"
	"os/exec"
	"testing"

	"pgo/test/rig"
)

// follower is a client that runs in the background of a test.
type follower struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

func start(t *testing.T, cmd *exec.Cmd) *follower {
	t.Helper()
	f := &follower{Cmd: cmd}
	f.Stdout, f.Stderr = &f.stdout, &f.stderr
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	return f
}

// ends waits for the client to end and checks its exit code.
func (f *follower) ends(t *testing.T, code int) {
	t.Helper()
	if _ = f.Wait(); f.ProcessState.ExitCode() != code {
		t.Errorf("%v ended with %v, not %d: %s%s", f.Args, f.ProcessState, code, &f.stdout, &f.stderr)
	}
}

// One change runs at a time; the next waits for it and says so. Operations that only read do
// not wait.
func TestChangesWaitTheirTurn(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web").Set("ignore", true)
	commit := web.Push("first", slowBuild(r, "hello", "4"))
	pgod := r.Start(web)
	shows(t, pgod, web, "last:      held")

	up := start(t, pgod.SSHCommand(web.Key, web.Op("up")))
	build := composing(t, web, "build")
	down := start(t, pgod.PgoctlCommand(web.Key, web.Op("down")))
	for _, operation := range []string{"ping", "ps", "logs", "git hash"} {
		pgod.SSH(web.Key, web.Op(operation)).Exits(t, 0)
	}
	shows(t, pgod, web, "now:       build "+commit[:7])
	if gone(build)() == nil {
		t.Error("the operations that only read waited for the build to end")
	}
	up.ends(t, 0)
	down.ends(t, 0)
	says(t, down.stderr.String(), "waiting for up by anyone to end")
	if found := rig.Containers(t, web.Name); len(found) > 0 {
		t.Errorf("down came before up: %+v", found)
	}
}

// Half a deploy is of no use to anybody: a client that disconnects during an `up` does not end
// it.
func TestUpOutlivesItsClient(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web").Set("ignore", true)
	commit := web.Push("first", slowBuild(r, "hello", "3"))
	pgod := r.Start(web)
	shows(t, pgod, web, "last:      held")
	up := start(t, pgod.SSHCommand(web.Key, web.Op("up")))
	composing(t, web, "build")
	if err := up.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	up.ends(t, -1)
	deployed(t, pgod, web, commit)
}

// A change that takes longer than the service's timeout is aborted, and does not hold up the
// next one.
func TestTimeout(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	commit := web.Push("first", r.Idle())
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	before := startedAt(t, web)

	// Only a change that cannot end gets so little time.
	web.Set("timeout", "5s")
	worker := pgod.WorkerPID(web)
	pgod.Configure()
	replaced(t, pgod, web, worker)
	slow := web.Push("takes long", slowBuild(r, "never", "600"))
	shows(t, pgod, web, "deployed:  "+commit[:7], "error:", "cannot build "+slow[:7], "timeout of 5s has expired")
	up := pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 74)
	says(t, up.Stderr, "timeout of 5s has expired", "[ERROR] Process exited with status 504")
	stays(t, web, before, "an aborted change")
	web.Set("timeout", "10m")
	pgod.Configure()
	deployed(t, pgod, web, web.Push("quick again", r.Idle().With("compose.yaml", greeter(r, "idle", "again"))))
	runs(t, web, "again", "idle")
	if left := composes(t, web, "build"); len(left) > 0 {
		t.Errorf("compose is still building: %v", fmt.Sprint(left))
	}
}
