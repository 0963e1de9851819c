package test

import (
	"bytes"
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
	before := startedAt(t, web.Name) + startedAt(t, busy.Name)

	follow := pgod.SSHCommand(web.Key, web.Op("logs"), "-f")
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	composing(t, web, "logs")
	busy.Push("takes long", slowBuild(r, "never", "600"))
	composing(t, busy, "build")
	pgod.Kill()
	killed := time.Now()
	for _, user := range []*rig.User{web.User, busy.User} {
		rig.Within(t, 5*time.Second-time.Since(killed), "all processes of "+user.Name+" to be gone", user.Idle)
	}
	_ = follow.Wait()

	busy.Push("calm again", r.Idle())
	pgod.Start()
	deployed(t, pgod, web, web.Push("words only", rig.Files{"README.md": "nothing to run\n"}))
	deployed(t, pgod, busy, busy.Push("words only", rig.Files{"README.md": "nothing to run\n"}))
	if now := startedAt(t, web.Name) + startedAt(t, busy.Name); now != before {
		t.Errorf("containers were started anew: %s, then %s", before, now)
	}
	pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
}

// A pgod that is asked to stop lets a short change come to its end.
func TestStopWaitsForAChange(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web").Set("ignore", true)
	web.Push("first", slowBuild(r, "hello", "4"))
	pgod := r.Start(web)
	shows(t, pgod, web, "last:      held")

	var out bytes.Buffer
	up := pgod.SSHCommand(web.Key, web.Op("up"))
	up.Stdout, up.Stderr = &out, &out
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	composing(t, web, "build")
	pgod.Stop()
	if err := up.Wait(); err != nil {
		t.Errorf("up: %v: %s", err, &out)
	}
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
	before := startedAt(t, web.Name)

	web.Push("takes long", slowBuild(r, "never", "600"))
	composing(t, web, "build")
	asked := time.Now()
	pgod.Stop()
	if took := time.Since(asked); took < 9*time.Second || took > 16*time.Second {
		t.Errorf("the change was broken off after %s, not after 10s", took)
	}
	if err := web.User.Idle(); err != nil {
		t.Error(err)
	}
	if now := startedAt(t, web.Name); now != before {
		t.Errorf("the container was started anew: %s, then %s", before, now)
	}
}
