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

// What is in the .env reaches containers as it does without pgo: as the value of a secret and a
// config, and as an env_file. What only a .env by hand has counts, and a changed value is a change.
// What compose warns of is told to whoever deploys and watches.
func TestDotEnv(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web").Set("interval", "1h").Set("compose", []string{"compose.yaml", "prod.yaml"})
	const line = "a$b 'c' \"d\""
	files := rig.Files{
		"compose.yaml": "include: [{path: side/side.yaml, env_file: side/own.env}]\n" + greeter(r, "web", "never") +
			"    env_file: [{path: app.env, required: false}]\n    secrets: [token]\n    configs: [conf]\n" +
			"secrets: {token: {environment: TOKEN}}\nconfigs: {conf: {environment: TOKEN}}\n",
		"prod.yaml":      "services: {web: {environment: {GREETING: hello, EMPTY: '${UNSET_HERE}'}}}\n",
		"side/side.yaml": greeter(r, "side", "hello") + "    environment: [HOME, DOCKER_HOST, DOCKER_CONFIG, GREETING]\n    secrets: [side]\nsecrets: {side: {environment: TOKEN}}\n",
		"side/own.env":   "TOKEN=of the include\nGREETING=hello\n",
		".env":           "TOKEN='" + strings.ReplaceAll(line, "'", `\'`) + "'\nCOMPOSE_PROFILES=none\n",
	}
	files["side/side.yaml"] = strings.Replace(files["side/side.yaml"], "    environment:\n      GREETING: hello\n", "", 1)
	web.Push("first", files)
	pgod := r.Start(web)
	runs(t, web, "hello", "side", "web")
	content := func(service, path string) string {
		t.Helper()
		return docker(t, "exec", byService(t, web)[service].ID, "cat", path)
	}
	if secret, conf, side := content("web", "/run/secrets/token"), content("web", "/conf"), content("side", "/run/secrets/side"); secret != line || conf != line || side != "of the include" {
		t.Errorf("the secret is %q, the config %q, and that of the include %q", secret, conf, side)
	}
	for _, c := range rig.Containers(t, web.Name) {
		for _, variable := range c.Config.Env {
			if name, _, _ := strings.Cut(variable, "="); slices.Contains([]string{"HOME", "DOCKER_HOST", "DOCKER_CONFIG", "FROM_FILE"}, name) || strings.HasPrefix(name, "PGO_") {
				t.Errorf("%s has %s", c.Service(), variable)
			}
		}
	}
	const unset, profiles = `The "UNSET_HERE" variable is not set. Defaulting to a blank string.`, "COMPOSE_PROFILES in .env is not used"
	shows(t, pgod, web, "compose file: ", "(and 1 more warnings: check shows them)")
	for _, operation := range []string{"check", "diff"} {
		result := pgod.SSH(web.Key, web.Op(operation)).Exits(t, 0)
		if err := has(result.Stderr, "warning: "+unset, "warning: "+profiles); err != nil {
			t.Errorf("%s: %v", operation, err)
		}
	}

	// Somebody adds a file by hand, and another value is committed.
	put(t, checkout(pgod, web, "app.env"), "FROM_FILE=by hand\n", 0o600) // root's
	if failed := pgod.SSH(web.Key, web.Op("check")); failed.Code == 0 || has(failed.Stderr, "this service's user may not read "+checkout(pgod, web, "app.env")) != nil {
		t.Errorf("an unreadable file: exit %d, %s", failed.Code, failed.Stderr)
	}
	put(t, checkout(pgod, web, "app.env"), "FROM_FILE=by hand\n", 0o644)
	web.Push("another value", rig.Files{".env": "TOKEN=other\nUNSET_HERE=1\n"})
	up := pgod.SSH(web.Key, web.Op("up")).Exits(t, 0)
	if err := has(up.Stderr, "secrets.token.environment changed"); err != nil || strings.Contains(up.Stdout+up.Stderr, "TOKEN") {
		t.Errorf("%v\n%s", err, up.Stderr)
	}
	if got := content("web", "/run/secrets/token"); got != "other" {
		t.Errorf("the secret is %q", got)
	}
	if env := byService(t, web)["web"].Config.Env; !slices.Contains(env, "FROM_FILE=by hand") {
		t.Errorf("the environment is %q", env)
	}
	if status := pgod.SSH(web.Key, web.Op("status")).Exits(t, 0).Stdout; strings.Contains(status, "warning") {
		t.Errorf("warnings that are over:\n%s", status)
	}

	// What is missing is found before anything is taken down.
	before := byService(t, web)
	web.Push("no value", rig.Files{".env": "TOKENS=other\n"})
	failed := pgod.SSH(web.Key, web.Op("up"))
	if err := has(failed.Stderr, "secrets.token: the variable TOKEN is not set"); err != nil || failed.Code == 0 {
		t.Errorf("exit %d, %v", failed.Code, err)
	}
	web.Push("a file by hand", rig.Files{".env": "TOKEN=other\n", "prod.yaml": files["prod.yaml"] + "secrets: {token: !override {file: ./by-hand/key}}\n"})
	failed = pgod.SSH(web.Key, web.Op("check"))
	if err := has(failed.Stderr, "secrets.token.file: by-hand/key is neither in the repository nor in the checkout"); err != nil || failed.Code == 0 {
		t.Errorf("exit %d, %v", failed.Code, err)
	}
	put(t, checkout(pgod, web, "by-hand/key"), "of the operator", 0o644)
	pgod.SSH(web.Key, web.Op("check")).Exits(t, 0)
	same(t, "what cannot be deployed", before, byService(t, web), "side", "web")
}
