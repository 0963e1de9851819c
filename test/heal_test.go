package test

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"pgo/test/rig"
)

// household is a job that ends, a server that needs it, two more with and
// without a restart policy, and one that ends by itself when told.
func household(r *rig.Rig, greeting string) rig.Files {
	image := "    image: " + r.Busybox() + "\n    init: true\n    environment: {GREETING: " + greeting + "}\n"
	return rig.Files{"compose.yaml": `services:
  job:
` + image + `    command: [echo, "the job is done"]
  web:
` + image + `    command: [sleep, "86400"]
    depends_on: {job: {condition: service_completed_successfully}}
  side:
` + image + `    command: [sleep, "86400"]
  always:
` + image + `    command: [sleep, "86400"]
    restart: always
  mortal:
` + image + `    command: [sh, -c, "echo last words; while test ! -e /tmp/end; do sleep 0.1; done; exit 3"]
`}
}

// comesBack waits until a compose service has a container that was started after
// the one before.
func comesBack(t *testing.T, s *rig.Service, service string, before rig.Container) rig.Container {
	t.Helper()
	var now rig.Container
	rig.Until(t, service+" to be brought back", func() error {
		now = byService(t, s)[service]
		if !now.Running() || !now.State.StartedAt.After(before.State.StartedAt) {
			return fmt.Errorf("it is %+v", now)
		}
		return nil
	})
	return now
}

// What somebody removes, stops or kills behind pgo's back is brought back, with growing delays
// if that is repeated, and nothing else is touched. A job that is done, and what ends by
// itself, is left as it is, and shown.
func TestHealing(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	commit := web.Push("first", household(r, "hello"))
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	first := byService(t, web)

	removed := time.Now()
	docker(t, "rm", "--force", first["side"].ID)
	side := comesBack(t, web, "side", first["side"])
	if side.ID == first["side"].ID {
		t.Errorf("it was not even removed: %+v", side)
	}
	docker(t, "stop", first["web"].ID)
	comesBack(t, web, "web", first["web"])
	docker(t, "kill", first["always"].ID)
	comesBack(t, web, "always", first["always"])
	now := byService(t, web)
	same(t, "healing of others", first, now, "job", "mortal")
	if now["side"].ID != side.ID || !now["side"].State.StartedAt.Equal(side.State.StartedAt) {
		t.Errorf("side was replaced again: %+v, then %+v", side, now["side"])
	}

	docker(t, "exec", first["mortal"].ID, "touch", "/tmp/end")
	shows(t, pgod, web, "unwell:    "+web.Name+"-mortal-1 exited with 3")
	docker(t, "rm", first["job"].ID)
	docker(t, "rm", "--force", side.ID)
	side = comesBack(t, web, "side", side)
	// The second, third and fourth time it waits: 1 s, 2 s and 4 s.
	if took := side.State.StartedAt.Sub(removed); took < 7*time.Second {
		t.Errorf("something was taken away and brought back four times within %s", took)
	}
	last := byService(t, web)
	same(t, "healing of side", now, last, "web", "always")
	if last["job"].ID != "" || last["mortal"].Running() || last["mortal"].ID != first["mortal"].ID {
		t.Errorf("what had ended was started again: %+v, %+v", last["job"], last["mortal"])
	}
	shows(t, pgod, web, "unwell:    "+web.Name+"-mortal-1 exited with 3", "deployed:  "+commit[:7])
}

// What somebody has stopped stays stopped across polls, restarts and other commits, until
// somebody says start or up.
func TestStoppedStaysStopped(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, operator := r.Service("web"), r.Key("operator")
	commit := web.Push("first", trio(r))
	pgod := r.Pgod(web)
	pgod.Operators(operator)
	pgod.Start()
	deployed(t, pgod, web, commit)

	pgod.SSH(web.Key, web.Op("stop"), "extra").Exits(t, 0)
	before := byService(t, web)
	isStopped := func(after string) {
		t.Helper()
		if now := byService(t, web); now["extra"].Running() || !now["web"].Running() {
			t.Errorf("after %s: %+v", after, now)
		}
	}
	isStopped("stop")
	shows(t, pgod, web, "unwell:    "+web.Name+"-extra-1 is stopped, until start or up")

	deployed(t, pgod, web, web.Push("words", rig.Files{"README.md": "words"}))
	isStopped("a poll")
	pgod.SSH(operator, web.Op("worker restart")).Exits(t, 0)
	deployed(t, pgod, web, web.Push("words", rig.Files{"README.md": "more words"}))
	shows(t, pgod, web, "worker:    ready", "restarts: 1", "is stopped, until start or up")
	pgod.Kill()
	pgod.Start()
	deployed(t, pgod, web, web.Push("words", rig.Files{"README.md": "even more words"}))
	shows(t, pgod, web, "is stopped, until start or up") // it has looked at them
	isStopped("a restart of pgod")
	same(t, "all of that", before, byService(t, web), "job", "web", "extra")

	files := trio(r)
	deployed(t, pgod, web, web.Push("other", files.With("compose.yaml", files["compose.yaml"]+"    environment: {OTHER: \"1\"}\n")))
	isStopped("a deploy of another commit")
	pgod.SSH(web.Key, web.Op("start"), "extra").Exits(t, 0)
	if now := byService(t, web); !now["extra"].Running() {
		t.Errorf("after start: %+v", now["extra"])
	}
	pgod.SSH(web.Key, web.Op("stop")).Exits(t, 0)
	shows(t, pgod, web, "-extra-1 is stopped, until start or up", "-web-1 is stopped")
	pgod.SSH(web.Key, web.Op("up")).Exits(t, 0)
	if err := runningOf(web, "extra", "web")(); err != nil {
		t.Error(err)
	}
}

// runningOf is a condition to wait for: exactly these compose services run.
func runningOf(s *rig.Service, services ...string) func() error {
	return func() error {
		out, err := exec.Command("docker", "ps", "--filter", "label=com.docker.compose.project="+s.Name,
			"--format", `{{.Label "com.docker.compose.service"}}`).Output()
		if err != nil {
			return err
		}
		found := strings.Fields(string(out))
		slices.Sort(found)
		if fmt.Sprint(found) != fmt.Sprint(services) {
			return fmt.Errorf("the running ones are %v, not %v", found, services)
		}
		return nil
	}
}

// A stopped container keeps the network that it was made with. If that was made anew in the
// meantime, the container is replaced, and not started in vain.
func TestNetworkIsMadeAnew(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	network := web.Name + "-outside"
	anew := func() {
		t.Helper()
		// The label makes the rig remove it.
		docker(t, "network", "create", "--label", "com.docker.compose.project="+web.Name, network)
	}
	service := "    image: " + r.Busybox() + "\n    init: true\n    command: [sleep, '86400']\n"
	commit := web.Push("first", rig.Files{"compose.yaml": "services:\n  web:\n" + service + "    networks: [outside]\n  side:\n" + service +
		"networks: {outside: {external: true, name: " + network + "}}\n"})
	pgod := r.Start(web)
	shows(t, pgod, web, "network "+network+" is declared as external and does not exist yet")
	anew()
	deployed(t, pgod, web, commit) // also without a push
	before := byService(t, web)

	for _, start := range [][]string{{"start", "web"}, {"start"}, {"up"}, {"up", "web"}} {
		pgod.SSH(web.Key, web.Op("stop"), "web").Exits(t, 0)
		docker(t, "network", "rm", network)
		anew()
		pgod.SSH(web.Key, append([]string{web.Op(start[0])}, start[1:]...)...).Exits(t, 0)
		now := byService(t, web)
		if !now["web"].Running() || now["web"].ID == before["web"].ID {
			t.Errorf("after %v: %+v", start, now["web"])
		}
		same(t, fmt.Sprint(start), before, now, "side")
		before["web"] = now["web"]
	}
	// Behind pgo's back, too.
	rig.Until(t, "the network to be taken away", func() error {
		docker(t, "kill", before["web"].ID)
		if out, err := exec.Command("docker", "network", "rm", network).CombinedOutput(); err != nil {
			return errors.New(string(out)) // pgo was faster
		}
		return nil
	})
	anew()
	now := comesBack(t, web, "web", before["web"])
	if now.ID == before["web"].ID {
		t.Errorf("it is the one with the network that is gone: %+v", now)
	}
	same(t, "healing", before, byService(t, web), "side")
}
