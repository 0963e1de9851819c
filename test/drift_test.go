package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgo/test/rig"
)

// What somebody changes by hand is put right like what somebody takes away: a container that has
// left a network, that was made with another configuration, or that shares the network of one
// that was started again. More containers than there should be are shown until somebody runs up,
// and so is a paused one.
func TestDrift(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	service := "    image: " + r.Busybox() + "\n    init: true\n    command: [sleep, '86400']\n"
	file := func(n int) rig.Files {
		return rig.Files{"compose.yaml": fmt.Sprintf("services:\n  web:\n%s    environment: {N: '%d'}\n    networks: [default, side]\n", service, n) +
			"  net:\n" + service + "  app:\n" + service + "    network_mode: service:net\n    volumes: [/data]\n  still:\n" + service + "networks: {side: {}}\n"}
	}
	commit := web.Push("first", file(1))
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	first := byService(t, web)
	namespace := func(service string) string {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", byService(t, web)[service].State.Pid))
		if err != nil {
			t.Error(err)
		}
		return link
	}
	volume := unnamedOf(t, web, "app")

	docker(t, "kill", first["net"].ID)
	comesBack(t, web, "net", first["net"])
	app := comesBack(t, web, "app", first["app"])
	if namespace("app") != namespace("net") {
		t.Error("app has a network that is gone")
	}
	pgod.SSH(web.Key, web.Op("up"), "--force-recreate", "net").Exits(t, 0)
	if now := byService(t, web)["app"]; now.ID == app.ID || !now.Running() || namespace("app") != namespace("net") {
		t.Errorf("net was replaced, and app is %+v", now)
	}
	if now := unnamedOf(t, web, "app"); fmt.Sprint(now) != fmt.Sprint(volume) {
		t.Errorf("app has the volumes %v instead of %v", now, volume)
	}

	docker(t, "network", "disconnect", "--force", web.Name+"_side", first["web"].ID)
	second := comesBack(t, web, "web", first["web"])
	if networks := docker(t, "inspect", "--format", "{{json .NetworkSettings.Networks}}", second.ID); !strings.Contains(networks, web.Name+"_side") {
		t.Errorf("it is on %s", networks)
	}

	model, err := os.ReadFile(filepath.Join(serviceDir(pgod, web), "start.json"))
	if err != nil {
		t.Fatal(err)
	}
	// It may not end well: pgo puts things right while it runs.
	byHand := func(model string, args ...string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "by-hand.json")
		if err := os.WriteFile(path, []byte(model), 0o600); err != nil {
			t.Fatal(err)
		}
		rig.Run(t, exec.Command("docker", append([]string{"compose", "-p", web.Name, "-f", path, "up", "--detach", "--no-deps", "--no-build"}, args...)...))
	}
	byHand(strings.Replace(string(model), `"N": "1"`, `"N": "by hand"`, 1), "web")
	rig.Until(t, "web to be as it should be", func() error {
		now := byService(t, web)["web"]
		if env := strings.Join(now.Config.Env, " "); now.ID == second.ID || !now.Running() || !strings.Contains(env, "N=1") {
			return fmt.Errorf("it is %+v", now)
		}
		return nil
	})

	byHand(string(model), "--no-recreate", "--scale", "web=3", "web")
	shows(t, pgod, web, "unwell:    web has 3 containers instead of 1: up removes the others")
	says(t, pgod.SSH(web.Key, web.Op("up")).Exits(t, 0).Stderr, "Removed")
	rig.Within(t, 0, "only one to be left", rig.Running(web.Name, 4))
	docker(t, "pause", byService(t, web)["web"].ID)
	shows(t, pgod, web, "unwell:    "+web.Name+"-web-1 is paused, until up")
	pgod.SSH(web.Key, web.Op("up")).Exits(t, 0)
	rig.Within(t, 0, "all to run", rig.Running(web.Name, 4))
	same(t, "all of that", first, byService(t, web), "still")

	docker(t, "pause", byService(t, web)["web"].ID)
	deployed(t, pgod, web, web.Push("while it is paused", file(2)))
}
