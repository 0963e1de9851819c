package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgo/test/rig"
)

// runs waits until exactly these compose services run, with the greeting in
// their environment.
func runs(t *testing.T, s *rig.Service, greeting string, services ...string) {
	t.Helper()
	rig.Until(t, fmt.Sprintf("%v to run with %q", services, greeting), func() error {
		var found []string
		for _, c := range rig.Containers(t, s.Name) {
			if c.Running() && slices.Contains(c.Config.Env, "GREETING="+greeting) {
				found = append(found, c.Service())
			}
		}
		slices.Sort(found)
		if !slices.Equal(found, services) {
			return fmt.Errorf("the running ones are %v", found)
		}
		return nil
	})
}

// greeter is a compose file with one container.
func greeter(r *rig.Rig, service, greeting string) string {
	return "services:\n  " + service + ":\n    image: " + r.Busybox() + "\n    init: true\n    network_mode: none\n    command: [sleep, '86400']\n    environment:\n      GREETING: " + greeting + "\n"
}

// A compose file of any of the four names is found, the first of them if there
// are several.
func TestFourNames(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	names := []string{"docker-compose.yaml", "docker-compose.yml", "compose.yml", "compose.yaml"}
	web.Push(names[0], rig.Files{names[0]: greeter(r, "web", "zero")})
	r.Start(web)
	runs(t, web, "zero", "web")
	for i, name := range names[1:] {
		greeting := fmt.Sprint("name", i)
		web.Push(name, rig.Files{name: greeter(r, "web", greeting)})
		runs(t, web, greeting, "web")
	}
}

// An alternate compose file is followed like any other, and its relative paths begin in its own
// directory.
func TestAlternateComposeFile(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web").Set("compose", "deploy/x.yaml")
	files := func(greeting, mounted string) rig.Files {
		return rig.Files{
			"compose.yaml":      greeter(r, "never", "never"),
			"deploy/x.yaml":     greeter(r, "web", greeting) + "    env_file: [web.env]\n    volumes:\n      - ./conf:/conf:ro\n      - ../shared.txt:/shared.txt:ro\n",
			"deploy/web.env":    "FROM_FILE=yes\n",
			"deploy/conf/a.txt": mounted,
			"shared.txt":        "shared " + mounted,
		}
	}
	web.Push("first", files("one", "first"))
	pgod := r.Start(web)
	mounts := func(want string) {
		t.Helper()
		container := rig.Containers(t, web.Name)[0]
		got := docker(t, "exec", container.ID, "cat", "/conf/a.txt", "/shared.txt")
		if got != want+"shared "+want || !slices.Contains(container.Config.Env, "FROM_FILE=yes") {
			t.Errorf("the container has mounted %q; its environment is %v", got, container.Config.Env)
		}
	}
	runs(t, web, "one", "web")
	mounts("first")

	deployed(t, pgod, web, web.Push("another file", files("two", "first")))
	runs(t, web, "two", "web")
	deployed(t, pgod, web, web.Push("another mounted file", files("two", "second")))
	runs(t, web, "two", "web")
	mounts("second")

	before := startedAt(t, web)
	deployed(t, pgod, web, web.Push("a file that is not ours", rig.Files{"compose.yaml": greeter(r, "never", "again")}))
	stays(t, web, before, "another compose file")

	web.Push("it moved", rig.Files{"deploy/y.yaml": greeter(r, "web", "three")})
	web.Repo.Git("rm", "--quiet", "deploy/x.yaml")
	gone := web.Repo.Commit("it is gone")
	shows(t, pgod, web, "head:      "+gone[:7], "error:", "the repository has no deploy/x.yaml")
}

// The configured profiles run. A repository cannot change those, nor the project's name.
func TestProfilesAndEnvironment(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web").Set("profiles", []string{"extra"}).Set("env", []string{"GREETING=it's a $dollar \"day\"", "UNUSED=1"})
	service := "    image: " + r.Busybox() + "\n    init: true\n    network_mode: none\n    command: [sleep, '86400']\n    environment: [GREETING]\n"
	web.Push("first", rig.Files{
		"compose.yaml": "name: mine\nservices:\n  web:\n" + service +
			"  extra:\n    profiles: [extra]\n" + service + "  other:\n    profiles: [other]\n" + service,
		".env": "COMPOSE_PROFILES=other\nCOMPOSE_PROJECT_NAME=theirs\nCOMPOSE_FILE=/dev/null\nGREETING=theirs\n",
	})
	pgod := r.Start(web)
	runs(t, web, `it's a $dollar "day"`, "extra", "web")
	if found := rig.Containers(t, web.Name); len(found) != 2 || strings.Contains(fmt.Sprint(found), "mine") {
		t.Errorf("what runs: %+v", found)
	}

	web.Set("profiles", []string{})
	pgod.Configure()
	runs(t, web, `it's a $dollar "day"`, "web")
}
