package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgo/test/rig"
)

const (
	well = "well\n"
	ill  = "ill: no database\n"
)

// clinic is a repository with a site that serves a mounted file, and a health check that
// depends on another one.
func clinic(r *rig.Rig, port int, text, health string) rig.Files {
	return rig.Files{
		"www/index.html": text,
		"www/health":     health,
		"compose.yaml": fmt.Sprintf(`services:
  web:
    image: %s
    init: true
    command: [sh, -c, "echo serving $$(cat /www/index.html); exec httpd -f -p 8080 -h /www"]
    ports: ["127.0.0.1:%d:8080"]
    volumes: ["./www:/www:ro"]
    healthcheck:
      test: [CMD-SHELL, "cat /www/health; grep -q well /www/health"]
      interval: 1s
      timeout: 30s
      retries: 2
`, r.Busybox(), port),
	}
}

// and returns the repository with one more compose service, which has the lines.
func and(r *rig.Rig, f rig.Files, service, lines string) rig.Files {
	more := "  " + service + ":\n    image: " + r.Busybox() + "\n    " + lines + "\n"
	return f.With("compose.yaml", f["compose.yaml"]+more)
}

// pgo does not wait any longer for a commit that turns unhealthy: what ran before runs again,
// and that commit is not tried again until somebody says so.
func TestUnhealthyCommit(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web").Set("gate", "9m"), r.Port() // longer than this test waits
	first := web.Push("first", clinic(r, port, "one", well))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	r.Answers(port, "one")

	second := web.Push("second", clinic(r, port, "two", ill))
	words := []string{
		"deployed:  " + first[:7], "went back: " + second[:7] + " failed", "head:      " + second[:7], "last:      degraded",
		"error:     " + second[:7] + " did not become healthy: " + web.Name + "-web-1 is unhealthy: ill: no database; went back to " + first[:7],
		"\n           serving two\n",
	}
	shows(t, pgod, web, words...)
	r.Answers(port, "one")
	pgod.Restart() // the verdict outlives the worker
	polled(t, pgod, web)
	shows(t, pgod, web, words...)
	if n := switches(pgod, web, second); n != 1 {
		t.Errorf("it was tried %d times", n)
	}

	up := pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 76)
	says(t, up.Stderr, "going back to "+first[:7], "is unhealthy: ill: no database; went back to "+first[:7], "\n  serving two\n")
	if n := switches(pgod, web, second); n != 2 {
		t.Errorf("after up it was tried %d times", n)
	}
	r.Answers(port, "one")
	shows(t, pgod, web, words...)

	deployed(t, pgod, web, web.Push("third", clinic(r, port, "three", well)))
	r.Answers(port, "three")
	isFine(t, pgod, web)
}

// Nor does pgo wait for what can no longer become well, whatever the reason, and its last
// output is shown: without the service's secrets, and escaped. A job that has done its work is
// well.
func TestHopelessCommits(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web").Set("gate", "9m").Set("env", []string{"SECRET=open-sesame"}), r.Port()
	good := clinic(r, port, "one", well)
	migrate := "    depends_on: {job: {condition: service_completed_successfully}}\n"
	job := "command: [sh, -c, 'echo the job begins; exit %d']\n"
	first := web.Push("first", and(r, good, "job", fmt.Sprintf(job, 0)))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	r.Answers(port, "one")

	for _, c := range []struct {
		name  string
		files rig.Files
		words []string
	}{
		{"ends", and(r, good, "extra", "command: [sh, -c, 'printf \"no \\033[31mdatabase with %s\\n\" ${SECRET}; exit 1']\n"),
			[]string{web.Name + "-extra-1 exited with 1", "\n           no \\x1b[31mdatabase with ***\n"}},
		{"has no such program", and(r, good, "extra", "command: [no-such-program]\n"),
			[]string{web.Name + "-extra-1 could not be started: ", "no-such-program"}},
		{"has a job that fails", and(r, good, "job", fmt.Sprintf(job, 3)),
			[]string{web.Name + "-job-1 exited with 3", "\n           the job begins\n"}},
		{"waits for a job that fails", and(r, good.With("compose.yaml", good["compose.yaml"]+migrate), "job", fmt.Sprintf(job, 4)),
			[]string{web.Name + "-job-1 exited with 4", "\n           the job begins\n"}},
	} {
		commit := web.Push(c.name, c.files)
		shows(t, pgod, web, append(c.words, "deployed:  "+first[:7], "head:      "+commit[:7], "last:      degraded",
			commit[:7]+" did not become healthy: ", "went back to "+first[:7])...)
		r.Answers(port, "one")
		if n := switches(pgod, web, commit); n != 1 {
			t.Errorf("a commit that %s was tried %d times", c.name, n)
		}
	}
	for _, operation := range []string{"status", "history"} {
		if text := pgod.SSH(web.Key, web.Op(operation), "--json").Exits(t, 0).Stdout; strings.Contains(text, "open-sesame") || strings.Contains(text, "\x1b") {
			t.Errorf("%s shows what it should not: %q", operation, text)
		}
	}

	// A commit that reverts everything restarts nothing.
	before := byService(t, web)
	if len(before) != 2 || !before["web"].Running() || before["job"].State.ExitCode != 0 {
		t.Errorf("what runs in the end: %+v", before)
	}
	deployed(t, pgod, web, web.Push("as it was", and(r, good, "job", fmt.Sprintf(job, 0))))
	same(t, "a revert of commits that failed", before, byService(t, web), "web", "job")
	isFine(t, pgod, web)
}

// What may still become well has until the end of the gate.
func TestEndOfTheGate(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	never, waits := r.Service("never"), r.Service("waits")
	port, other := r.Port(), r.Port()
	// A health check without a result yet, for longer than the gate.
	pending := func(port int) rig.Files {
		f := clinic(r, port, "two", well)
		f["compose.yaml"] += "      start_period: 1h\n"
		return f.With("www/health", ill)
	}
	firsts := map[*rig.Service]string{
		never: never.Push("first", clinic(r, port, "one", well)),
		waits: waits.Push("first", clinic(r, other, "one", well)),
	}
	pgod := r.Start(never, waits)
	for s, commit := range firsts {
		deployed(t, pgod, s, commit)
		s.Set("gate", "15s")
	}
	pgod.Configure()

	crasher := "restart: always\n    command: [sh, -c, 'echo I give up; exit 1']\n"
	second := never.Push("second", and(r, pending(port), "crasher", crasher))
	third := waits.Push("second", and(r, pending(other), "next", "init: true\n    command: [sleep, '86400']\n    depends_on: {web: {condition: service_healthy}}\n"))
	// It takes a gate, and perhaps another one on the way back. On a busy machine no health check may
	// have ended by then, so what it said is not asked for.
	ends := func(s *rig.Service, words ...string) {
		t.Helper()
		rig.Within(t, 3*time.Minute, fmt.Sprintf("the status of %s to have %q", s.Name, words), func() error {
			return has(pgod.SSH(s.Key, s.Op("status")).Stdout, words...)
		})
	}
	ends(never, "deployed:  "+firsts[never][:7], "last:      degraded",
		second[:7]+" did not become healthy: after 15s "+never.Name+"-crasher-1 ", "restart", ", "+never.Name+"-web-1 is not healthy yet", "; went back to", "I give up")
	ends(waits, "deployed:  "+firsts[waits][:7], "last:      degraded",
		third[:7]+" did not become healthy: after 15s "+waits.Name+"-web-1 is not healthy yet", "; went back to")
	r.Answers(port, "one")
	r.Answers(other, "one")
}

// If there is nothing to go back to, or nobody wants to go back, what failed is kept for
// somebody to look at.
func TestWhatFailedStays(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web").Set("gate", "9m"), r.Port()
	stays := func(pgod *rig.Pgod, commit, text string) {
		t.Helper()
		shows(t, pgod, web, "deployed:  "+commit[:7], "last:      degraded", commit[:7]+" did not become healthy: ", "serving "+text)
		r.Answers(port, text)
		polled(t, pgod, web)
		if n := switches(pgod, web, commit); n != 1 {
			t.Errorf("%s was tried %d times", text, n)
		}
	}
	first := web.Push("first", clinic(r, port, "one", ill))
	pgod := r.Start(web)
	stays(pgod, first, "one")
	second := web.Push("second", clinic(r, port, "two", well))
	deployed(t, pgod, web, second)
	r.Answers(port, "two")

	worker := pgod.WorkerPID(web)
	web.Set("rollback", false)
	pgod.Configure()
	replaced(t, pgod, web, worker)
	third := web.Push("third", clinic(r, port, "three", ill))
	stays(pgod, third, "three")
	up := pgod.SSH(web.Key, web.Op("up")).Exits(t, 502%256)
	says(t, up.Stderr, third[:7]+" did not become healthy: ", "serving three")
	if n := switches(pgod, web, third); n != 2 {
		t.Errorf("after up it was tried %d times", n)
	}
	r.Answers(port, "three")

	// The engine refuses to create one, and what ran before is stopped. No operation starts that
	// again as it was.
	files := clinic(r, port, "four", well)
	files = and(r, files.With("compose.yaml", files["compose.yaml"]+"    depends_on: [small]\n"), "small", "mem_limit: 1m")
	fourth := web.Push("fourth", files)
	shows(t, pgod, web, "head:      "+fourth[:7], "last:      degraded", "emory limit")
	for _, op := range []string{"restart", "start"} {
		if again := pgod.SSH(web.Key, web.Op(op)); again.Code == 0 {
			t.Errorf("%s worked", op)
		}
		if now := byService(t, web)["web"]; now.Running() {
			t.Errorf("%s has started what ran before: %+v", op, now)
		}
	}

	pgod.SSH(web.Key, web.Op("rollback")).Exits(t, 0)
	shows(t, pgod, web, "deployed:  "+second[:7], "frozen:")
	r.Answers(port, "two")
}
