package test

import (
	"testing"

	"pgo/test/rig"
)

// A service that was taken down stays down, whatever happens, until somebody says up.
func TestDownStaysDown(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, operator := r.Service("web"), r.Key("operator")
	commit := web.Push("first", r.Idle())
	pgod := r.Pgod(web)
	pgod.Operators(operator)
	pgod.Start()
	deployed(t, pgod, web, commit)

	pgod.Pgoctl(web.Key, web.Op("down")).Exits(t, 0)
	isDown := func(after string) {
		t.Helper()
		if found := rig.Containers(t, web.Name); len(found) > 0 {
			t.Errorf("after %s there are containers: %+v", after, found)
		}
		shows(t, pgod, web, "wanted:    down")
	}
	isDown("down")

	head := web.Push("second", r.Idle().With("README.md", "news\n"))
	shows(t, pgod, web, "head:      "+head[:7], "last:      down")
	isDown("a poll that fetched a commit")

	pgod.SSH(operator, web.Op("worker restart")).Exits(t, 0)
	head = web.Push("third", r.Idle().With("README.md", "more news\n"))
	shows(t, pgod, web, "head:      "+head[:7], "worker:    ready", "restarts: 1", "last:      down")
	isDown("a restart of the worker")

	pgod.Kill()
	pgod.Start()
	head = web.Push("fourth", r.Idle().With("README.md", "even more\n"))
	shows(t, pgod, web, "head:      "+head[:7], "last:      down")
	isDown("a restart of pgod")

	pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 0)
	if err := rig.Running(web.Name, 1)(); err != nil {
		t.Error(err)
	}
	shows(t, pgod, web, "wanted:    up", "deployed:  "+head[:7])
}

// trio is a job that ends, a server, and one more server.
func trio(r *rig.Rig) rig.Files {
	image := "    image: " + r.Busybox() + "\n    init: true\n"
	return rig.Files{"compose.yaml": `services:
  job:
` + image + `    command: [echo, "the job is done"]
  web:
` + image + `    command: [sleep, "86400"]
    depends_on: {job: {condition: service_completed_successfully}}
  extra:
` + image + `    command: [sleep, "86400"]
`}
}

// With nothing new, `up` starts what is stopped, or has ended by itself. It does not run a
// finished job again, and with names it leaves the others alone.
func TestUpStartsWhatDoesNotRun(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	commit := web.Push("first", household(r, "hello"))
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	first := byService(t, web)
	if len(first) != 5 || first["job"].State.Status != "exited" {
		t.Fatalf("it begins with %+v", first)
	}

	pgod.SSH(web.Key, web.Op("up")).Exits(t, 0)
	same(t, "up with nothing to do", first, byService(t, web), "job", "web", "side", "always", "mortal")

	pgod.SSH(web.Key, web.Op("stop"), "web", "side").Exits(t, 0)
	docker(t, "exec", first["mortal"].ID, "touch", "/tmp/end")
	shows(t, pgod, web, "-mortal-1 exited with 3")
	pgod.SSH(web.Key, web.Op("up"), "web").Exits(t, 0)
	second := byService(t, web)
	same(t, "up web", first, second, "job", "always")
	if !second["web"].Running() || second["side"].Running() || second["mortal"].Running() {
		t.Errorf("after up web: %+v", second)
	}

	pgod.SSH(web.Key, web.Op("up")).Exits(t, 0)
	third := byService(t, web)
	same(t, "up", second, third, "job", "web", "always")
	if !third["side"].Running() || !third["mortal"].State.StartedAt.After(second["mortal"].State.StartedAt) {
		t.Errorf("after up: %+v", third)
	}

	says(t, pgod.SSH(web.Key, web.Op("up"), "nobody").Exits(t, 400%256).Stderr, "no such service: nobody")
	pgod.SSH(web.Key, web.Op("up"), "--force-recreate").Exits(t, 0)
	if forced := byService(t, web); forced["web"].ID == third["web"].ID || forced["job"].ID == third["job"].ID {
		t.Errorf("up --force-recreate kept containers: %+v", forced)
	}
}

// With names, too, `up` ends a `down`, and what somebody has started that way keeps running.
func TestUpSomeEndsADown(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	commit := web.Push("first", trio(r))
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	pgod.SSH(web.Key, web.Op("down")).Exits(t, 0)
	pgod.SSH(web.Key, web.Op("up"), "web").Exits(t, 0)
	before := byService(t, web)
	if !before["web"].Running() || before["job"].State.ExitCode != 0 || before["extra"].ID != "" {
		t.Errorf("after up web: %+v", before)
	}
	pgod.Restart()
	shows(t, pgod, web, "wanted:    up", "next poll")
	deployed(t, pgod, web, web.Push("words", rig.Files{"README.md": "words"}))
	same(t, "a restart", before, byService(t, web), "web", "job", "extra")
}

func byService(t *testing.T, s *rig.Service) map[string]rig.Container {
	t.Helper()
	found := map[string]rig.Container{}
	for _, c := range rig.Containers(t, s.Name) {
		found[c.Service()] = c
	}
	return found
}

// same reports a container that was replaced, or started again.
func same(t *testing.T, after string, before, now map[string]rig.Container, services ...string) {
	t.Helper()
	for _, service := range services {
		if before[service].ID != now[service].ID || !before[service].State.StartedAt.Equal(now[service].State.StartedAt) {
			t.Errorf("%s: %s was %+v and is %+v", after, service, before[service], now[service])
		}
	}
}
