package test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgo/test/rig"
)

// Tests with an engine of their own, which is stopped, killed, and runs out of disk space.

// onEngine returns the service's containers on the engine, by their compose service.
func onEngine(t *testing.T, e *rig.Engine, s *rig.Service) map[string]rig.Container {
	t.Helper()
	containers, err := e.Containers(s.Name)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]rig.Container{}
	for _, c := range containers {
		found[c.Service()] = c
	}
	return found
}

// What ran when the engine ended runs again once it is back, whether the engine was stopped or
// killed, whether or not pgod was running then, and even without a restart policy. What had
// ended before, jobs above all, does not.
func TestEngineEnds(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	e := r.Engine(web.User)
	e.Busybox()
	commit := web.Set("docker_host", e.Host).Push("first", household(r, "hello"))
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	hasNoGroup(t, pgod.WorkerPID(web), "docker")
	before := onEngine(t, e, web)
	e.Docker("exec", before["mortal"].ID, "touch", "/tmp/end")
	shows(t, pgod, web, "-mortal-1 exited with 3")

	// Meanwhile the status does not claim that all is well.
	const unknown = "unwell:    nobody knows what runs: "
	answers := func() {
		t.Helper()
		rig.Until(t, "the engine to count as there", func() error {
			if status := pgod.SSH(web.Key, web.Op("status")).Exits(t, 0).Stdout; strings.Contains(status, unknown) {
				return errors.New(status)
			}
			return nil
		})
	}
	e.Freeze()
	shows(t, pgod, web, "state:     unwell", unknown+"the Docker engine does not answer: it has said nothing for 8s (since 20")
	e.Thaw()
	answers()
	same(t, "the engine hung", before, onEngine(t, e, web), "web", "side", "always")

	for _, c := range []struct {
		how string
		end func()
	}{
		{"the engine was stopped", func() {
			e.Stop()
			shows(t, pgod, web, "state:     unwell", unknown+"cannot reach the Docker engine")
			e.Start()
			answers()
		}},
		{"the engine was killed", func() { e.Kill(); e.Start() }},
		{"the engine was stopped while pgod was stopped", func() { pgod.Stop(); e.Stop(); e.Start(); pgod.Start() }},
		{"pgod was started before the engine", func() { pgod.Stop(); e.Stop(); pgod.Start(); e.Start() }},
	} {
		before = onEngine(t, e, web)
		c.end()
		rig.Until(t, "what ran to run again after "+c.how, func() error {
			now := onEngine(t, e, web)
			for _, service := range []string{"web", "side", "always"} {
				if !now[service].Running() || !now[service].State.StartedAt.After(before[service].State.StartedAt) {
					return fmt.Errorf("%s: %+v", service, now[service])
				}
			}
			return nil
		})
		shows(t, pgod, web, "-mortal-1 exited with 3", "deployed:  "+commit[:7])
		same(t, c.how, before, onEngine(t, e, web), "job", "mortal")
	}
}

// hasNoGroup reports a process that is in the group.
func hasNoGroup(t *testing.T, pid int, group string) {
	t.Helper()
	g, err := user.LookupGroup(group)
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "Groups:") && slices.Contains(strings.Fields(line), g.Gid) {
			t.Errorf("process %d is in the group %s: %s", pid, group, line)
		}
	}
}

// A commit is not blamed when the engine is killed in the middle of its deploy: once the engine
// is back, the deploy is finished.
func TestEngineIsKilledInADeploy(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	e := r.Engine(web.User)
	e.Busybox()
	commit := web.Set("docker_host", e.Host).Push("first", hooked(r, "first"))
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	for _, c := range []struct {
		step  string
		files func(r *rig.Rig, greeting string) rig.Files
	}{
		{"stop", stubborn},
		{"stopping", patient},
		{"up", patient},
		{"build", func(r *rig.Rig, greeting string) rig.Files { return slowBuild(r, greeting, "4") }},
	} {
		commit = web.Push(c.step, c.files(r, c.step))
		deploying(t, pgod, web, c.step)
		e.Kill()
		shows(t, pgod, web, "error:")
		e.Start()
		deployed(t, pgod, web, commit)
		now := onEngine(t, e, web)
		if len(now) == 0 {
			t.Errorf("killed while %s: there are no containers", c.step)
		}
		for _, container := range now {
			if !container.Running() || !slices.Contains(container.Config.Env, "GREETING="+c.step) {
				t.Errorf("killed while %s: %+v", c.step, container)
			}
		}
		isFine(t, pgod, web)
	}
}

// When the engine has no disk space to build, what runs is left alone; the commit is built once
// there is space.
func TestEngineIsFull(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	disk := r.Disk("engine-data", 64)
	e := r.EngineOn(web.User, disk.Dir)
	e.Busybox()
	files := func(size int) rig.Files {
		big := make([]byte, size)
		_, _ = rand.Read(big)
		return rig.Files{
			"big":          string(big),
			"Dockerfile":   "FROM " + r.Busybox() + "\nCOPY big /big\n",
			"compose.yaml": "services:\n  web:\n    build: .\n    init: true\n    command: [sleep, '86400']\n",
		}
	}
	first := web.Set("docker_host", e.Host).Push("first", files(1))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	before := onEngine(t, e, web)

	disk.Fill(1 << 10)
	second := web.Push("second", files(4<<20))
	shows(t, pgod, web, "deployed:  "+first[:7], "cannot build "+second[:7], "no space left on device", "last:      failed")
	same(t, "a full disk", before, onEngine(t, e, web), "web")
	disk.Clear()
	deployed(t, pgod, web, second)
	if now := onEngine(t, e, web); !now["web"].Running() || now["web"].ImageID == before["web"].ImageID {
		t.Errorf("what runs is %+v", now)
	}
}

// Without disk space for its own files pgo leaves what runs alone, and says why.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	disk := r.Disk("disk", 16)
	first := web.Push("first", page(r, port, "one"))
	pgod := r.Pgod(web)
	pgod.Dir = filepath.Join(disk.Dir, "pgo")
	pgod.Start()
	deployed(t, pgod, web, first)
	before := startedAt(t, web)

	disk.Fill(512)
	// Compressed in a pack it is small.
	second := web.Push("second", page(r, port, "two").With("large.txt", strings.Repeat("all the same\n", 1<<18)))
	shows(t, pgod, web, "head:      "+second[:7], "deployed:  "+first[:7], "cannot stage "+second[:7], "the disk is full")
	disk.Fill(0)
	third := web.Push("third", page(r, port, "three"))
	shows(t, pgod, web, "deployed:  "+first[:7], "error:")
	pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
	stays(t, web, before, "a full disk")
	r.Answers(port, "one")

	// A restart locks nobody out: whoever makes room needs these.
	pgod.Restart()
	rig.Until(t, "the key to be known again", func() error { return ping(pgod, web, web.Key) })
	shows(t, pgod, web, "error:")
	for _, words := range [][]string{{"status"}, {"ps"}, {"logs"}, {"history"}, {"exec", "-T", "site", "true"}} {
		pgod.SSH(web.Key, append([]string{web.Op(words[0])}, words[1:]...)...).Exits(t, 0)
	}
	stays(t, web, before, "a restart on a full disk")
	pgod.SSH(web.Key, web.Op("stop")).Exits(t, 0)
	pgod.Restart() // it is remembered
	rig.Until(t, "the key to be known again", func() error { return ping(pgod, web, web.Key) })
	shows(t, pgod, web, "is stopped, until start or up")

	disk.Clear()
	pgod.SSH(web.Key, web.Op("up")).Exits(t, 0)
	deployed(t, pgod, web, third)
	r.Answers(port, "three")
	isFine(t, pgod, web)
}
