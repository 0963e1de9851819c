package test

import (
	"strings"
	"testing"
	"time"

	"pgo/test/rig"
)

// A pgod that is killed takes its workers and their compose with it, and no
// container; the next one takes over what runs as it is.
func TestPgodIsKilled(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, busy := r.Service("web"), r.Service("busy")
	commit := web.Push("first", r.Idle())
	calm := busy.Push("first", r.Idle())
	pgod := r.Start(web, busy)
	deployed(t, pgod, web, commit)
	deployed(t, pgod, busy, calm)
	webBefore, busyBefore := startedAt(t, web), startedAt(t, busy)

	follow := start(t, pgod.SSHCommand(web.Key, web.Op("logs"), "-f"))
	composing(t, web, "logs")
	busy.Push("takes long", slowBuild(r, "never", "600"))
	composing(t, busy, "build")
	pgod.Kill()
	killed := time.Now()
	for _, user := range []*rig.User{web.User, busy.User} {
		rig.Within(t, 5*time.Second-time.Since(killed), "all processes of "+user.Name+" to be gone", user.Idle)
	}
	follow.ends(t, 255)

	busy.Push("calm again", r.Idle())
	pgod.Start()
	deployed(t, pgod, web, web.Push("words only", rig.Files{"README.md": "nothing to run\n"}))
	deployed(t, pgod, busy, busy.Push("words only", rig.Files{"README.md": "nothing to run\n"}))
	stays(t, web, webBefore, "a killed pgod")
	stays(t, busy, busyBefore, "a killed pgod")
	pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
}

// A pgod that is asked to stop lets a short change finish.
func TestStopWaitsForAChange(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	files := stubborn(r, "hello")
	commit := web.Push("first", files.With("compose.yaml", strings.Replace(files["compose.yaml"], "6s", "2s", 1)))
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)

	restart := start(t, pgod.SSHCommand(web.Key, web.Op("restart")))
	composing(t, web, "restart")
	pgod.Stop()
	restart.ends(t, 0)
	if err := rig.Running(web.Name, 1)(); err != nil {
		t.Error(err)
	}
	if err := web.User.Idle(); err != nil {
		t.Error(err)
	}
}

// It does not wait for one that takes longer than ten seconds.
func TestStopBreaksOffALongChange(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	commit := web.Push("first", r.Idle())
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	before := startedAt(t, web)

	web.Push("takes long", slowBuild(r, "never", "600"))
	composing(t, web, "build")
	asked := time.Now()
	pgod.Stop()
	if took := time.Since(asked); took < 9*time.Second || took > 16*time.Second {
		t.Errorf("the change was aborted after %s, not after 10s", took)
	}
	if err := web.User.Idle(); err != nil {
		t.Error(err)
	}
	stays(t, web, before, "an aborted change")
}
