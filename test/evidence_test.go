package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgo/test/rig"
)

// gating waits until a commit is in the gate.
func gating(t *testing.T, pgod *rig.Pgod, s *rig.Service, commit string) {
	t.Helper()
	shows(t, pgod, s, "now:       gate "+commit[:7])
}

// pair is a site whose health check passes only when the test says so, and another server.
func pair(r *rig.Rig, port int, text, health string) rig.Files {
	return and(r, clinic(r, port, text, health), "side", "init: true\n    command: [sleep, '86400']\n    labels: {text: "+text+"}\n").
		With("www/health", health)
}

// recovers lets the health check of what is deployed pass: the file is mounted.
func recovers(t *testing.T, s *rig.Service) {
	t.Helper()
	docker(t, "exec", byService(t, s)["web"].ID, "touch", "/tmp/well")
}

// slowly replaces the health check by one that passes once a test has said so.
func slowly(f rig.Files) rig.Files {
	return f.With("compose.yaml", strings.ReplaceAll(strings.ReplaceAll(f["compose.yaml"],
		"cat /www/health; grep -q well /www/health", "echo not yet; test -e /tmp/well"), "retries: 2", "retries: 1000"))
}

// What somebody removes or stops while a commit is in the gate is brought back, and says nothing
// about the commit. Meanwhile up and the status say what the gate waits for.
func TestTakenAwayDuringTheGate(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web").Set("gate", "9m"), r.Port()
	first := web.Push("first", pair(r, port, "one", well))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)

	second := web.Push("second", slowly(pair(r, port, "two", well)))
	gating(t, pgod, web, second)
	shows(t, pgod, web, "now:       gate "+second[:7]+": "+web.Name+"-web-1 is not healthy yet: not yet; ", " left")
	for how, take := range map[string][]string{"removed": {"rm", "--force"}, "stopped": {"stop", "--time", "1"}, "killed": {"kill"}} {
		before := byService(t, web)["side"]
		docker(t, append(take, before.ID)...)
		comesBack(t, web, "side", before)
		t.Logf("what was %s is back", how)
	}
	recovers(t, web)
	deployed(t, pgod, web, second)
	isFine(t, pgod, web)
	watched := pgod.SSH(web.Key, web.Op("history"))
	if strings.Contains(watched.Stdout, "degraded") {
		t.Errorf("the commit was blamed:\n%s", watched.Stdout)
	}
}

// A worker that ends during the gate is not a reason to replace the containers again.
func TestWorkerEndsDuringTheGate(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web").Set("gate", "9m"), r.Port()
	job := "    depends_on: {job: {condition: service_completed_successfully}}\n"
	files := func(text string) rig.Files {
		f := slowly(pair(r, port, text, well))
		return and(r, f.With("compose.yaml", f["compose.yaml"]+job), "job", "command: [echo, "+text+"]\n")
	}
	first := web.Push("first", files("one"))
	pgod := r.Start(web)
	gating(t, pgod, web, first)
	recovers(t, web)
	deployed(t, pgod, web, first)

	second := web.Push("second", files("two"))
	gating(t, pgod, web, second)
	before := byService(t, web)
	kill(t, pgod.WorkerPID(web))
	gating(t, pgod, web, second)
	pgod.Kill()
	pgod.Start()
	gating(t, pgod, web, second)
	recovers(t, web)
	deployed(t, pgod, web, second)
	same(t, "the end of a worker and of pgod", before, byService(t, web), "web", "side", "job")
}

// Nobody waits for the end of the gate when it is known how it ends: a container exits again and
// again, or there is a newer commit.
func TestGateEndsEarly(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	loops, newer := r.Service("loops").Set("gate", "9m"), r.Service("newer").Set("gate", "9m")
	port, other := r.Port(), r.Port()
	first, old := loops.Push("first", pair(r, port, "one", well)), newer.Push("first", pair(r, other, "one", well))
	pgod := r.Start(loops, newer)
	deployed(t, pgod, loops, first)
	deployed(t, pgod, newer, old)

	// It says that it needs the site, which is healthy, so there is nothing to wait for.
	crasher := "restart: always\n    command: [sh, -c, 'echo I give up; exit 7']\n    depends_on: {web: {condition: service_healthy}}\n"
	second := loops.Push("second", and(r, pair(r, port, "two", well), "crasher", crasher))
	// This one is neither in a loop nor unhealthy: it only has not become healthy.
	failing := newer.Push("second", slowly(pair(r, other, "two", well)))
	gating(t, pgod, newer, failing)
	third := newer.Push("third", pair(r, other, "three", well))
	deployed(t, pgod, newer, third)
	r.Answers(other, "three")
	if n := switches(pgod, newer, old); n != 1 {
		t.Errorf("it went back in between: %d", n)
	}
	says(t, pgod.SSH(newer.Key, newer.Op("history")).Stdout, failing[:7]+" was failing when "+third[:7]+" came")

	shows(t, pgod, loops, "deployed:  "+first[:7], "last:      degraded", second[:7]+" did not become healthy: "+loops.Name+"-crasher-1 has exited again and again, ",
		"each time with 7", "I give up")
	r.Answers(port, "one")
}

// A commit that has nothing to run is known before anything is taken down.
func TestNothingToRun(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	first := web.Push("first", r.Idle())
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	before := startedAt(t, web)
	for content, why := range map[string]string{
		"services: {}\n": "the compose file has no services; run down to stop what runs",
		"services:\n  web: {image: " + r.Busybox() + ", profiles: [debug]}\n": "all services (web) have profiles",
	} {
		next := web.Push(why, rig.Files{"compose.yaml": content})
		shows(t, pgod, web, "deployed:  "+first[:7], "head:      "+next[:7], "last:      failed", why)
		says(t, pgod.SSH(web.Key, web.Op("check")).Exits(t, 502%256).Stderr, why)
	}
	stays(t, web, before, "commits without anything to run")
}

// A firewall that was flushed breaks every start: no commit is at fault, what ran runs again as
// soon as that is possible, and then the commit is deployed by itself.
func TestFirewallIsFlushed(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	e := r.Engine(web.User)
	e.Busybox()
	first := web.Set("docker_host", e.Host).Push("first", page(r, port, "one"))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)

	e.Network("iptables", "-t", "nat", "-F")
	e.Network("iptables", "-t", "nat", "-X", "DOCKER")
	second := web.Push("second", page(r, port, "two"))
	shows(t, pgod, web, "last:      failed", "cannot start "+second[:7], "No chain/target/match by that name")
	e.Stop()
	e.Start()
	rig.Within(t, 3*time.Minute, "the commit to be deployed", func() error {
		return has(pgod.SSH(web.Key, web.Op("status")).Stdout, "deployed:  "+second[:7])
	})
	if now := onEngine(t, e, web)["site"]; !now.Running() {
		t.Errorf("it does not run: %s", fmt.Sprint(now))
	}
}
