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

// Containers of the service's compose project that somebody else has started, by hand from another
// directory, are left alone until an operator says adopt = true: neither a deploy nor down nor the
// removal of the entry touches them. Then the service has their volume, and what was copied of
// their directories. Containers of its own need no such word, whatever pgo has forgotten.
func TestAdoption(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, calm, operator := r.Service("web"), r.Service("calm"), r.Key("operator")
	calm.Push("first", r.Idle())
	files := rig.Files{"compose.yaml": `services:
  db:
    image: ` + r.Busybox() + `
    init: true
    command: [sleep, "86400"]
    network_mode: none
    volumes: ["store:/store", "./data:/data", "./conf:/conf:ro"]
volumes:
  store: {}
`, "conf/keep": "of the repository"}
	commit := web.Push("first", files)

	home := filepath.Join(r.Dir, "home")
	for name, text := range files {
		put(t, filepath.Join(home, name), text, 0o644)
	}
	put(t, filepath.Join(home, "data", "file"), "all that we have", 0o644)
	byHand := exec.Command("docker", "compose", "--project-name", web.Name, "up", "--detach", "--quiet-pull")
	byHand.Dir = home
	rig.Run(t, byHand).Exits(t, 0)
	container := web.Name + "-db-1"
	docker(t, "exec", container, "sh", "-c", "echo in a volume >/store/file")
	before := startedAt(t, web)

	pgod := r.Pgod(web, calm)
	pgod.Operators(operator)
	pgod.Start()
	move := fmt.Sprintf("db has %s at /data instead of %s/data", checkout(pgod, web, "data"), home)
	held := []string{container + ", from " + home, "pgo leaves them alone until an operator sets adopt = true in the service's entry", move, checkout(pgod, web, "conf")}
	shows(t, pgod, web, held...)
	says(t, pgod.SSH(web.Key, web.Op("up")).Exits(t, 502%256).Stderr, held...)
	says(t, pgod.SSH(web.Key, web.Op("down")).Exits(t, 502%256).Stderr, held[:2]...)
	for _, operation := range []string{"check", "diff"} {
		says(t, pgod.SSH(web.Key, web.Op(operation)).Exits(t, 0).Stdout, append(held, "# warning: somebody else has started")...)
	}
	if _, err := os.Lstat(checkout(pgod, web, "data")); err == nil {
		t.Error("its checkout was touched")
	}
	pgod.Configure(calm)
	rig.Until(t, "the entry to be gone", func() error {
		if len(removed(t, pgod, web)) != 1 {
			return fmt.Errorf("its directory is where it was")
		}
		return nil
	})
	stays(t, web, before, "deploys, down, and the removal of the entry")
	says(t, pgod.Log(), "the containers of somebody else are left alone: service="+web.Name)

	// As docs/operators.md says: stop, copy, adopt.
	pgod.Configure(web, calm)
	shows(t, pgod, web, held...)
	stop := exec.Command("docker", "compose", "--project-name", web.Name, "stop", "--timeout", "1")
	stop.Dir = home
	rig.Run(t, stop).Exits(t, 0)
	rig.Run(t, exec.Command("cp", "-a", filepath.Join(home, "data"), checkout(pgod, web, "data"))).Exits(t, 0)
	web.Set("adopt", true)
	pgod.Configure(web, calm)
	deployed(t, pgod, web, commit)
	for file, want := range map[string]string{"/data/file": "all that we have", "/store/file": "in a volume\n", "/conf/keep": "of the repository"} {
		if got := docker(t, "exec", container, "cat", file); got != want {
			t.Errorf("%s has %q", file, got)
		}
	}
	if containers := rig.Containers(t, web.Name); len(containers) != 1 {
		t.Errorf("there are %+v", containers)
	}

	// pgo has lost everything but its checkout.
	pgod.Stop()
	entries, err := os.ReadDir(serviceDir(pgod, web))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "checkout") {
			if err := os.RemoveAll(filepath.Join(serviceDir(pgod, web), entry.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	web.Set("adopt", false)
	pgod.Configure(web, calm)
	pgod.Start()
	deployed(t, pgod, web, commit)
	if got := docker(t, "exec", container, "cat", "/data/file"); got != "all that we have" {
		t.Errorf("/data/file has %q", got)
	}
}
