package compose

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// project returns a project whose compose is the real plugin. Resolving needs no engine.
func project(t *testing.T) *Project {
	t.Helper()
	plugin, err := FindPlugin()
	if err != nil {
		t.Fatalf("%v (`make test` installs it)", err)
	}
	return &Project{Plugin: plugin, Name: "unit", Home: t.TempDir(), Checkout: t.TempDir(), Marker: "PGO_SERVICE_DIR=/unit"}
}

// tree writes files into a new directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// named returns the compose files of a service for which this one is configured; "": none is.
func named(file string) []string {
	if file == "" {
		return nil
	}
	return []string{file}
}

func resolve(t *testing.T, p *Project, dir, file string) *Model {
	t.Helper()
	m, err := p.Resolve(context.Background(), dir, named(file)...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Without a profile in the file, all profiles make the model that the configured ones make: one
// start of compose is enough. With one, both are resolved.
func TestResolveEach(t *testing.T) {
	const plain = "services: {web: {image: busybox, env_file: [{path: web.env, required: false}], volumes: ['a:/a'], configs: [c]}}\n" +
		"volumes: {a: , unused: }\nconfigs: {c: {content: '${COMPOSE_PROFILES-}'}, d: {file: ./d}}\nnetworks: {n: {external: true}}\n"
	for name, test := range map[string]struct {
		files     map[string]string
		services  []string
		all       []string // nil: there is no such model
		profiled  bool
		wantError bool
	}{
		"no profiles":       {files: map[string]string{"compose.yaml": plain}, services: []string{"web"}, all: []string{"web"}},
		"an empty list":     {files: map[string]string{"compose.yaml": "services: {web: {image: busybox, profiles: []}}"}, services: []string{"web"}, all: []string{"web"}},
		"a profile":         {files: map[string]string{"compose.yaml": "services: {web: {image: busybox}, debug: {image: busybox, profiles: [debug]}}"}, services: []string{"web"}, all: []string{"debug", "web"}, profiled: true},
		"the configured":    {files: map[string]string{"compose.yaml": "services: {web: {image: busybox}, extra: {image: busybox, profiles: [extra, debug]}}"}, services: []string{"extra", "web"}, all: []string{"extra", "web"}, profiled: true},
		"by extends":        {files: map[string]string{"compose.yaml": "services: {web: {image: busybox}, more: {extends: {file: base.yaml, service: base}}}", "base.yaml": "services: {base: {image: busybox, profiles: [debug]}}"}, services: []string{"web"}, all: []string{"more", "web"}, profiled: true},
		"by include":        {files: map[string]string{"compose.yaml": "include: [more.yaml]\nservices: {web: {image: busybox}}", "more.yaml": "services: {more: {image: busybox, \"prof\\x69les\": [debug]}}"}, services: []string{"web"}, all: []string{"more", "web"}, profiled: true},
		"no model with all": {files: map[string]string{"compose.yaml": "services: {web: {image: busybox}, debug: {image: busybox, profiles: [debug], env_file: [none.env]}}"}, services: []string{"web"}, profiled: true},
		"no model at all":   {files: map[string]string{"compose.yaml": "services: {web: {imag: busybox}}"}, wantError: true},
		"no file":           {wantError: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := project(t)
			p.Profiles = []string{"extra"}
			dir := tree(t, test.files)
			configured, all, err := p.ResolveEach(t.Context(), dir)
			alone, aloneErr := p.Resolve(t.Context(), dir)
			if test.wantError {
				if err == nil || aloneErr == nil || err.Error() != aloneErr.Error() {
					t.Fatalf("error %v, and alone %v", err, aloneErr)
				}
				return
			}
			if err != nil || aloneErr != nil {
				t.Fatal(err, aloneErr)
			}
			if string(configured.Encode()) != string(alone.Encode()) {
				t.Errorf("it is not what compose resolves with the configured profiles:\n%s\n%s", configured.Encode(), alone.Encode())
			}
			if got := configured.Services(); !slices.Equal(got, test.services) {
				t.Errorf("services %v", got)
			}
			if (all != nil) != (test.all != nil) || all != nil && !slices.Equal(all.Services(), test.all) {
				t.Errorf("with all profiles: %v", all)
			}
			if same := configured == all; same == test.profiled {
				t.Errorf("one model: %v", same)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	p := project(t)
	p.Env = []string{"FROM_PGO=operator"}
	dir := tree(t, map[string]string{
		"compose.yaml": `
services:
  web:
    build: {context: app, dockerfile: ../Dockerfile}
    environment: {A: "${FROM_PGO}", B: "${FROM_DOTENV}", C: "two $$ signs"}
    env_file: [web.env]
    volumes: ["./conf:/conf", "/etc/hosts:/h", "named:/n"]
    scale: 2
  job:
    image: busybox
    restart: unless-stopped
    profiles: [extra]
configs: {c: {file: ./c.txt}}
secrets: {s: {file: sub/s.txt}}
volumes:
  named: {driver: local, driver_opts: {type: none, o: bind, device: ./data}}
`,
		".env":       "FROM_DOTENV=repo\nCOMPOSE_PROFILES=extra\nCOMPOSE_PROJECT_NAME=stolen\nCOMPOSE_FILE=/nonexistent\n",
		"web.env":    "FROM_FILE='$x'\n",
		"Dockerfile": "FROM scratch\n",
	})
	m := resolve(t, p, dir, "")
	if got := m.Services(); !slices.Equal(got, []string{"web"}) {
		t.Errorf("services %v: a repository's .env must not choose the profiles", got)
	}
	text := string(m.Encode())
	for _, want := range []string{`"operator"`, `"repo"`, `"two $$ signs"`, `"FROM_FILE": "$$x"`, `"name": "unit"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the model has no %s:\n%s", want, text)
		}
	}
	if got := m.Images("unit"); got["web"] != "unit-web" {
		t.Errorf("images %v", got)
	}
	if got := m.Replicas("web"); got != 2 {
		t.Errorf("%d replicas", got)
	}

	m.Reroot(dir, "/checkout")
	if strings.Contains(string(m.Encode()), dir) {
		t.Errorf("paths of the stage are left:\n%s", m.Encode())
	}
	if got, want := m.Uses("/checkout", Mounted), []string{"conf", "data"}; !slices.Equal(got, want) {
		t.Errorf("mounted %q, want %q (unused configs and secrets are not in the model)", got, want)
	}
	if got, want := m.Uses("/checkout", Context), []string{"Dockerfile", "app"}; !slices.Equal(got, want) {
		t.Errorf("contexts %q, want %q", got, want)
	}

	p.Profiles = []string{"extra"}
	m = resolve(t, p, dir, "")
	m.Activate()
	if got := m.Services(); !slices.Equal(got, []string{"job", "web"}) {
		t.Errorf("services %v", got)
	}
	if strings.Contains(string(m.Encode()), "profiles") {
		t.Error("profiles are left in the model")
	}
	if !m.StaysUp("job") || m.StaysUp("web") {
		t.Error("StaysUp must be true with unless-stopped, and false without a policy")
	}
}

// An entry of environment without a value asks for the value of whoever runs compose: that is the
// service's env and the repository's .env, and nothing of the worker's.
func TestWorkersEnvironmentStaysHere(t *testing.T) {
	p := project(t)
	p.Env = []string{"TOKEN=of the operator", "LANG=de_DE.UTF-8"}
	p.Host = "unix:///run/engine.sock"
	dir := tree(t, map[string]string{".env": "DOTENV=of the repository\n", "compose.yaml": `
services:
  web:
    image: busybox
    environment: [HOME, PATH, DOCKER_HOST, DOCKER_CONFIG, PGO_SERVICE_DIR, COMPOSE_PROFILES, COMPOSE_MENU, TOKEN, LANG, DOTENV, UNSET]
    build: {context: ., args: [HOME, PATH, TOKEN]}
    post_start: [{command: [env], environment: [HOME, TOKEN]}]
  said:
    image: busybox
    environment: {HOME: /home, PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LANG: C.UTF-8, COMPOSE_MENU: ""}
`})
	services := resolve(t, p, dir, "").services()
	hook := list(services["web"]["post_start"])[0]
	for place, got := range map[string]any{
		"TOKEN=of the operator LANG=de_DE.UTF-8 DOTENV=of the repository UNSET=<nil>": services["web"]["environment"],
		"TOKEN=of the operator": services["web"]["build"].(map[string]any)["args"],
		"TOKEN=<nil>":           hook["environment"], // compose gives hooks nothing of its own
		"HOME=/home PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 COMPOSE_MENU=": services["said"]["environment"],
	} {
		variables, _ := got.(map[string]any)
		for name, value := range variables {
			if !strings.Contains(place, fmt.Sprintf("%s=%v", name, value)) {
				t.Errorf("%s is %v, want only %s", name, value, place)
			}
		}
		if want := strings.Count(place, "="); len(variables) != want {
			t.Errorf("%v, want %s", variables, place)
		}
	}
	for _, name := range []string{"HOME", "DOCKER_CONFIG", "PGO_SERVICE_DIR"} {
		dir := tree(t, map[string]string{"compose.yaml": "services: {web: {image: busybox, secrets: [s]}}\nsecrets: {s: {environment: " + name + "}}\n"})
		if _, err := p.Resolve(context.Background(), dir); !errors.Is(err, ErrNoModel) || !strings.Contains(err.Error(), name) {
			t.Errorf("a secret of %s: %v", name, err)
		}
	}
}

// Compose reads back what Encode writes as the same model: dollars, in keys and values, mean the
// same to whatever checks the model and to whatever mounts its paths.
func TestRoundTrip(t *testing.T) {
	p := project(t)
	dir := tree(t, map[string]string{"compose.yaml": `
services:
  web:
    image: busybox
    command: ["echo", "$$HOME", "a$$$$b", "$$$${x}"]
    environment: {"K$$EY": "v$$"}
    volumes: ["./a$$b:/x"]
    labels: {"l$$1": "$$2"}
`})
	first := resolve(t, p, dir, "")
	again := resolve(t, p, tree(t, map[string]string{"compose.yaml": string(first.Encode())}), "")
	if a, b := string(first.Encode()), string(again.Encode()); a != b {
		t.Errorf("first:\n%s\nagain:\n%s", a, b)
	}
	if got := first.Uses(dir, Mounted); !slices.Equal(got, []string{"a$b"}) {
		t.Errorf("mounted %q", got)
	}
	loaded, err := Load(first.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if a, b := string(first.Encode()), string(loaded.Encode()); a != b {
		t.Errorf("encoded:\n%s\nloaded:\n%s", a, b)
	}
}

// A deploy pulls what is missing and what wants it. What is built here is never pulled, whoever
// names it.
func TestPulled(t *testing.T) {
	p := project(t)
	m := resolve(t, p, tree(t, map[string]string{"compose.yaml": `
services:
  here: {image: a}
  missing: {image: b}
  latest: {image: a, pull_policy: missing}
  always: {image: a, pull_policy: always}
  hourly: {image: a, pull_policy: every_1h}
  daily: {image: a, pull_policy: daily}
  never: {image: b, pull_policy: never}
  build: {image: b, pull_policy: build}
  built: {image: c, build: {context: ., tags: [d]}, pull_policy: always}
  shared: {image: "docker.io/library/c:latest", pull_policy: always}
  tagged: {image: d}
  unnamed: {build: .}
  guessed: {image: web-unnamed}
`}), "")
	ids := map[string]string{"here": "sha256:1", "latest": "sha256:1", "always": "sha256:1", "hourly": "sha256:1", "daily": "sha256:1"}
	if got, want := m.Pulled("web", ids), []string{"always", "daily", "hourly", "missing"}; !slices.Equal(got, want) {
		t.Errorf("a deploy pulls %q, not %q", got, want)
	}
	if got, want := Pullable(m, "web"), []string{"always", "daily", "here", "hourly", "latest", "missing"}; !slices.Equal(got, want) {
		t.Errorf("%q may be pulled, not %q", got, want)
	}
}

func TestNeeds(t *testing.T) {
	m := resolve(t, project(t), tree(t, map[string]string{"compose.yaml": `
services:
  web: {image: a, depends_on: [api], network_mode: "service:side"}
  api: {image: a, depends_on: {db: {condition: service_healthy}}}
  db: {image: a}
  side: {image: a, volumes_from: [db]}
  other: {image: a, depends_on: [web]}
`}), "")
	for _, c := range []struct{ names, want []string }{
		{[]string{"web"}, []string{"api", "db", "side"}},
		{[]string{"db", "side"}, []string{"db"}},
		{[]string{"nobody"}, nil},
	} {
		if got := m.Needs(c.names); !slices.Equal(got, c.want) {
			t.Errorf("%v need %v, want %v", c.names, got, c.want)
		}
	}
}

func TestResolveRefuses(t *testing.T) {
	p := project(t)
	outside := tree(t, map[string]string{"x.yaml": "services: {}"})
	for name, c := range map[string]struct {
		files map[string]string
		file  string
		want  string
	}{
		"no file":       {map[string]string{"README": ""}, "", "the repository has no compose.yaml, compose.yml, docker-compose.yml, docker-compose.yaml"},
		"named missing": {map[string]string{"compose.yaml": ""}, "deploy/x.yaml", "the repository has no deploy/x.yaml"},
		"not YAML":      {map[string]string{"compose.yaml": "services: [}"}, "", "cannot resolve compose.yaml: "},
		"unknown key":   {map[string]string{"compose.yaml": "services: {a: {image: b, imagee: c}}"}, "", "imagee"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, c.files)
			_, err := p.Resolve(context.Background(), dir, named(c.file)...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	t.Run("link out of the tree", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Symlink(filepath.Join(outside, "x.yaml"), filepath.Join(dir, "compose.yaml")); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Resolve(context.Background(), dir); err == nil {
			t.Error("a compose file outside of the repository was read")
		}
	})
}

func TestFileNamesAndPlaces(t *testing.T) {
	p := project(t)
	for _, name := range append([]string{"deploy/prod.yaml"}, FileNames...) {
		dir := tree(t, map[string]string{name: "services: {a: {image: b, volumes: ['./d:/d']}}"})
		file := ""
		if strings.Contains(name, "/") {
			file = name
		}
		want := filepath.Join(filepath.Dir(name), "d")
		if got := resolve(t, p, dir, file).Uses(dir, Mounted); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: mounted %q, want %q", name, got, want)
		}
	}
}

// A .env that somebody put into the checkout counts if the repository has none.
func TestEnvFileOfTheCheckout(t *testing.T) {
	p := project(t)
	if err := os.WriteFile(filepath.Join(p.Checkout, ".env"), []byte("TAG=by-hand\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"compose.yaml": "services: {a: {image: 'b:${TAG}'}}"}
	if got := resolve(t, p, tree(t, files), "").Images("unit")["a"]; got != "b:by-hand" {
		t.Errorf("image %s", got)
	}
	files[".env"] = "TAG=committed\n"
	if got := resolve(t, p, tree(t, files), "").Images("unit")["a"]; got != "b:committed" {
		t.Errorf("image %s", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"services":{"a":{"image":"b","volumes":[{"type":"bind","source":"/s/x$$y"}],"build":{"context":"/s"}}}}`))
	f.Add([]byte(`{"services":[1],"volumes":{"v":{"driver_opts":null}},"configs":{"c":"x"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Decode(raw)
		if err != nil {
			return
		}
		m.Activate()
		m.Reroot("/s", "/c")
		m.Uses("/c", Mounted)
		for _, name := range m.Services() {
			m.Replicas(name)
			m.StaysUp(name)
		}
		again, err := Load(m.Encode())
		if err != nil {
			t.Fatalf("what Encode wrote cannot be loaded: %v", err)
		}
		if a, b := string(m.Encode()), string(again.Encode()); a != b {
			t.Errorf("%s is not %s", a, b)
		}
	})
}
