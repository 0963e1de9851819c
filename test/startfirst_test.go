package test

import (
	"fmt"
	"os"
	"path/filepath"
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
	g.service.Set("reload", "caddy caddy reload --config /etc/caddy/Caddyfile")
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

// switchFiles returns the names of all files in the directory of switches.
func (g *gateway) switchFiles(t *testing.T, pgod *rig.Pgod) []string {
	t.Helper()
	var names []string
	dir := filepath.Join(pgod.Dir, "services", g.service.Name, "checkout", filepath.Dir(snippetFile), ".Caddyfile-import.switches")
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, entry.Name())
		}
		return err
	})
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
	for n, round := range []struct {
		end, ready string
		disturb    func()
	}{
		{"drains", "", nil},
		{"dies", "2s", nil},
		{"ignores", "", nil},
		{"dies", "", func() { atStep(t, pgod, service, "start first", func() { kill(t, pgod.WorkerPID(service)) }) }},
		{"drains", "2s", func() { atStep(t, pgod, service, "gate", func() { kill(t, pgod.WorkerPID(service)) }) }},
		{"dies", "2s", func() { atStep(t, pgod, service, "gate", func() { kill(t, pgod.WorkerPID(s.g.service)) }) }},
		{"dies", "2s", func() {
			atStep(t, pgod, service, "gate", func() {
				docker(t, "exec", s.g.caddy(t), "caddy", "reload", "--force", "--config", "/etc/caddy/Caddyfile")
			})
		}},
		{"dies", "2s", func() { atStep(t, pgod, service, "gate", func() { pgod.Kill(); pgod.Start() }) }},
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
			t.Errorf("deploying %s (%+v): %d requests have failed so far", s.name, round, len(failures))
		}
	}
	for _, want := range []string{"v9", "v8", "v9"} {
		pgod.SSH(service.Key, service.Op("rollback")).Exits(t, 0)
		_ = want
	}
	load.Stop(t)
	rig.Until(t, "all switches to be released", func() error {
		if names := s.g.switchFiles(t, pgod); len(names) > 0 {
			return fmt.Errorf("there are %v", names)
		}
		return nil
	})
}

// atStep calls do once the service's worker is at a step of a deploy.
func atStep(t *testing.T, pgod *rig.Pgod, s *rig.Service, step string, do func()) {
	t.Helper()
	rig.Until(t, "the step "+step, func() error {
		if text := pgod.SSH(s.Key, s.Op("status")).Stdout; !strings.Contains(text, "now:       "+step) {
			return fmt.Errorf("the status is %q", text)
		}
		return nil
	})
	do()
}
