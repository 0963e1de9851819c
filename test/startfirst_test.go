package test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgo/test/rig"
)

// shop is a repository with a server behind the gateway, and what belongs to it.
type shop struct {
	g        *gateway
	name     string // which each answer begins with
	end      string // how it ends: drains, dies, ignores
	ready    string // how long it takes until it answers
	replicas int
	extra    string // more of the compose service
	more     string // more compose services
}

func (s shop) files() rig.Files {
	return rig.Files{"compose.yaml": fmt.Sprintf(`services:
  shop:
    image: %s
    init: true
    environment: {NAME: %q, END: %q, READY_AFTER: %q}
    scale: %d
    stop_grace_period: 4s
    healthcheck: {test: [CMD, wget, -q, -O, /dev/null, 'http://127.0.0.1:8080/'], interval: 500ms, timeout: 5s, retries: 40}
    networks: [proxy]
%s%snetworks: {proxy: {external: true, name: %s}}
`, s.g.r.Shop(), s.name, s.end, s.ready, max(s.replicas, 1), s.extra, s.more, s.g.network)}
}

// newShop starts a gateway and a shop behind it that starts first.
func newShop(t *testing.T, settings ...func(*rig.Service)) (*rig.Pgod, *rig.Service, shop) {
	t.Helper()
	r := rig.New(t)
	service := r.Service("shop").Set("deploy", "start-first").Set("gate", "30s")
	service.Set("urls", urls{"http://shop.example.org": "shop:8080", "shop.example.org": "shop:8080"})
	for _, set := range settings {
		set(service)
	}
	g := newGateway(r)
	g.imports = "sites/*" // there must be nothing that a Caddy cannot read
	g.service.Set("import", "caddy/sites/all").Set("reload", "caddy caddy reload --config /etc/caddy/Caddyfile")
	s := shop{g: g, name: "v0", end: "drains"}
	commit := service.Push("first", s.files())
	gate := g.service.Push("first", g.files())
	pgod := r.Start(g.service, service)
	deployed(t, pgod, g.service, gate)
	deployed(t, pgod, service, commit)
	r.Trust(&g.front, g.caddy(t))
	g.answers(t, "http://shop.example.org/", "v0 ")
	g.answers(t, "https://shop.example.org/", "v0 ")
	shows(t, pgod, service, "shop starts first")
	return pgod, service, s
}

// switchFiles returns the names of all switches.
func (g *gateway) switchFiles(t *testing.T, pgod *rig.Pgod) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(pgod.Dir, "services", g.service.Name, "checkout", "caddy/sites", ".*.switch.*"))
	if err != nil {
		t.Error(err)
	}
	return names
}

// A client does not notice deploys, whatever the servers do when they are asked to end, and whoever
// is killed meanwhile.
func TestStartFirst(t *testing.T) {
	t.Parallel()
	pgod, service, s := newShop(t)
	load := s.g.front.StartLoad("shop.example.org", "v")
	killWorker := func() { kill(t, pgod.WorkerPID(service)) }
	for n, round := range []struct {
		end, ready string
		disturb    func()
	}{
		{"drains", "", nil},
		{"dies", "2s", nil},
		{"ignores", "", nil},
		{"dies", "2s", func() { joined(t, service, false, killWorker) }},
		{"drains", "2s", func() { joined(t, service, true, killWorker) }},
		{"dies", "2s", func() { joined(t, service, true, func() { kill(t, pgod.WorkerPID(s.g.service)) }) }},
		{"dies", "6s", func() { // Caddy 2.11 loses requests with any reload, so there are none meanwhile
			joined(t, service, true, func() {
				load.Hold(func() {
					docker(t, "exec", s.g.caddy(t), "caddy", "reload", "--force", "--config", "/etc/caddy/Caddyfile")
				})
			})
		}},
		{"dies", "2s", func() { joined(t, service, true, func() { pgod.Kill(); pgod.Start() }) }},
		{"drains", "", nil},
		{"dies", "2s", nil},
	} {
		s.name, s.end, s.ready = fmt.Sprintf("v%d", n+1), round.end, round.ready
		commit := service.Push(s.name, s.files())
		if round.disturb != nil {
			round.disturb()
		}
		deployed(t, pgod, service, commit)
		if containers := rig.Containers(t, service.Name); len(containers) != 1 {
			t.Errorf("%s: there are %d containers", s.name, len(containers))
		}
		s.g.answers(t, "http://shop.example.org/", s.name+" ")
		if _, failures := load.Failures(); len(failures) > 0 {
			t.Errorf("deploying %s (%s, ready after %q): %d requests have failed so far", s.name, round.end, round.ready, len(failures))
		}
	}
	load.Stop(t)
	released(t, pgod, s.g)
}

// joined waits until the service has a second container, which does not run yet or, if it should, does,
// and then does something.
func joined(t *testing.T, s *rig.Service, running bool, do func()) {
	t.Helper()
	rig.Until(t, "another container", func() error {
		containers := rig.Containers(t, s.Name)
		if len(containers) < 2 || running && slices.ContainsFunc(containers, func(c rig.Container) bool { return c.State.Status != "running" }) {
			return fmt.Errorf("there are %+v", containers)
		}
		return nil
	})
	do()
}

// released waits until the names of the compose services lead requests again.
func released(t *testing.T, pgod *rig.Pgod, g *gateway) {
	t.Helper()
	rig.Until(t, "all switches to be released", func() error {
		if names := g.switchFiles(t, pgod); len(names) > 0 {
			return fmt.Errorf("there are %v", names)
		}
		return nil
	})
}

// Neither does a client notice a commit that does not work, nor a rollback, nor a commit that mends
// one which keeps crashing. Connections that last outlive the switch, and end with their container.
func TestStartFirstGoesBack(t *testing.T) {
	t.Parallel()
	pgod, service, s := newShop(t)
	load := s.g.front.StartLoad("shop.example.org", "v")
	first := rig.Containers(t, service.Name)[0].ID
	s.name, s.extra = "bad", "    command: [sh, -c, 'sleep 1; exit 7']\n    restart: always\n"
	bad := service.Push("crashes", s.files())
	shows(t, pgod, service, "head:      "+bad[:7], "last:      degraded", "exited", "went back to ")
	if containers := rig.Containers(t, service.Name); len(containers) != 1 || containers[0].ID != first {
		t.Errorf("after a commit that crashes there are %+v", containers)
	}
	s.extra = "    command: [sh, -c, 'echo no >/tmp/no; exec shop']\n    healthcheck: {test: [CMD, 'false'], interval: 500ms, retries: 2}\n"
	files := s.files()
	files["compose.yaml"] = strings.Replace(files["compose.yaml"], "    healthcheck: {test: [CMD, wget", "    x-not: {test: [CMD, wget", 1)
	unhealthy := service.Push("is unhealthy", files)
	shows(t, pgod, service, "head:      "+unhealthy[:7], "is unhealthy", "went back to ")
	if containers := rig.Containers(t, service.Name); len(containers) != 1 || containers[0].ID != first {
		t.Errorf("after a commit that is unhealthy there are %+v", containers)
	}

	s.extra = "    mem_limit: 1m\n"
	refused := service.Push("no engine makes it", s.files())
	shows(t, pgod, service, "head:      "+refused[:7], "last:      degraded", "inimum memory limit", "went back to ")
	if containers := rig.Containers(t, service.Name); len(containers) != 1 || containers[0].ID != first {
		t.Errorf("after a commit that no engine makes there are %+v", containers)
	}

	s.extra = ""
	var streams []func() (string, error)
	for path, upgrade := range map[string]bool{"/stream": false, "/socket": true} {
		next := s.g.front.Stream(t, "http://shop.example.org"+path, upgrade)
		if text, err := next(); err != nil || !strings.Contains(text, "v0") {
			t.Fatalf("%s begins with %q, %v", path, text, err)
		}
		streams = append(streams, next)
	}
	for n := range 2 {
		s.name, s.end = fmt.Sprintf("v%d", n+1), "dies"
		deployed(t, pgod, service, service.Push(s.name, s.files()))
		s.g.answers(t, "http://shop.example.org/", s.name+" ")
	}
	for _, next := range streams {
		text, err := "", error(nil)
		for err == nil {
			if text, err = next(); text != "" && !strings.Contains(text, "v0") {
				t.Errorf("a stream of the first container says %q", text)
			}
		}
	}
	for _, want := range []string{"v1", "v0"} {
		pgod.SSH(service.Key, service.Op("rollback")).Exits(t, 0)
		s.g.answers(t, "http://shop.example.org/", want+" ")
	}
	pgod.SSH(service.Key, service.Op("unfreeze")).Exits(t, 0)
	s.g.answers(t, "http://shop.example.org/", "v2 ")
	load.Stop(t)
	released(t, pgod, s.g)
}

// Several containers are replaced one by one; a job runs once, before, and what others share is
// replaced in place or stays.
func TestStartFirstReplicas(t *testing.T) {
	t.Parallel()
	pgod, service, s := newShop(t)
	load := s.g.front.StartLoad("shop.example.org", "v")
	s.replicas, s.end, s.ready = 3, "dies", "1s"
	s.extra = "    depends_on: {migrate: {condition: service_completed_successfully}, store: {condition: service_started}}\n"
	for n := range 3 {
		s.name = fmt.Sprintf("v%d", n+1)
		s.more = fmt.Sprintf(`  migrate:
    image: %[1]s
    command: [sh, -c, 'echo %[2]s >>/data/runs']
    volumes: ["data:/data"]
  store:
    image: %[1]s
    init: true
    command: [sleep, "86400"]
    volumes: ["data:/data"]
volumes: {data: {}}
`, s.g.r.Busybox(), s.name)
		before := byService(t, service)
		deployed(t, pgod, service, service.Push(s.name, s.files()))
		shops := 0
		for _, c := range rig.Containers(t, service.Name) {
			if c.Config.Labels["com.docker.compose.service"] == "shop" && c.State.Status == "running" {
				shops++
			}
		}
		if shops != 3 {
			t.Errorf("%s: %d containers run", s.name, shops)
		}
		if now := byService(t, service); n > 0 && now["store"].ID != before["store"].ID {
			t.Errorf("%s: what did not change was replaced", s.name)
		}
		runs := docker(t, "exec", byService(t, service)["store"].ID, "cat", "/data/runs")
		if want := strings.Count(runs, s.name); want != 1 {
			t.Errorf("%s: the job has run as %q", s.name, runs)
		}
	}
	shows(t, pgod, service, "store is replaced in place: no URL leads to it")
	load.Stop(t)
	released(t, pgod, s.g)
}

// What cannot start first is replaced in place, before or after. If that does not work, what has
// started first goes back without a failed request, too. So do forced deploys, and fewer containers.
func TestStartFirstInPart(t *testing.T) {
	t.Parallel()
	pgod, service, s := newShop(t)
	load := s.g.front.StartLoad("shop.example.org", "v")
	rest := func(command, version string) string {
		return fmt.Sprintf("  rest:\n    image: %s\n    init: true\n    command: [sh, -c, '%s']\n    environment: {VERSION: '%s'}\n", s.g.r.Busybox(), command, version)
	}
	s.end, s.extra, s.more = "dies", "    volumes: [\"data:/data\"]\n    x-pgo: {start-first: true}\n", rest("sleep 86400", "1")+"volumes: {data: {}}\n"
	s.name = "v1"
	commit := service.Push("works", s.files())
	deployed(t, pgod, service, commit)
	shows(t, pgod, service, "rest is replaced in place: no URL leads to it", "shop starts first")

	good := s
	s.name, s.more = "v2", rest("sleep 1; exit 7", "2")+"volumes: {data: {}}\n"
	bad := service.Push("the rest does not work", s.files())
	shows(t, pgod, service, "head:      "+bad[:7], "last:      degraded", "exited with 7", "went back to "+commit[:7])
	s.g.answers(t, "http://shop.example.org/", "v1 ")

	s = good
	s.replicas = 3
	deployed(t, pgod, service, service.Push("three", s.files()))
	s.replicas = 1
	deployed(t, pgod, service, service.Push("one", s.files()))
	before := byService(t, service)
	pgod.SSH(service.Key, service.Op("up"), "--force-recreate").Exits(t, 0)
	after := byService(t, service)
	for _, name := range []string{"shop", "rest"} {
		if after[name].ID == before[name].ID {
			t.Errorf("up --force-recreate leaves %s as it is", name)
		}
	}
	if n := len(rig.Containers(t, service.Name)); n != 2 {
		t.Errorf("there are %d containers", n)
	}
	load.Stop(t)
	released(t, pgod, s.g)

	s.extra = "    x-pgo: {start-frist: true}\n"
	typo := service.Push("a mistake", s.files())
	shows(t, pgod, service, "head:      "+typo[:7], "services.shop.x-pgo: start-frist is not known; did you mean start-first?")
}

// Where the proxy cannot see the switches, both services say so, and the deploy works all the same.
func TestStartFirstUnseen(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	service := r.Service("shop").Set("deploy", "start-first").Set("urls", urls{"http://shop.example.org": "shop:8080"})
	g := newGateway(r)
	g.service.Set("reload", "caddy caddy reload --config /etc/caddy/Caddyfile")
	g.mounts = []string{"./caddy/Caddyfile:/etc/caddy/Caddyfile", "./caddy/Caddyfile-import:/etc/caddy/Caddyfile-import"}
	s := shop{g: g, name: "v0", end: "drains"}
	pgod := r.Start(g.service)
	gate := g.service.Push("first", g.files())
	deployed(t, pgod, g.service, gate)
	commit := service.Push("first", s.files())
	pgod.Configure(g.service, service)
	deployed(t, pgod, service, commit)
	docker(t, "restart", g.caddy(t))
	g.answers(t, "http://shop.example.org/", "v0 ")
	const why = "caddy does not mount the directory ./caddy"
	shows(t, pgod, service, "requests cannot be switched: the proxy "+g.service.Name+": "+why)
	shows(t, pgod, g.service, "it cannot switch requests during a deploy: "+why)
	s.name = "v1"
	deployed(t, pgod, service, service.Push("second", s.files()))
	g.answers(t, "http://shop.example.org/", "v1 ")
}
