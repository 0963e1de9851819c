package deploy

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
	"pgo/worker/policy"
)

// routesModel has a compose service on the proxy's network, under an alias too, and one
// on its own.
const routesModel = `{"name": "web", "services": {
	"frontend": {"image": "a", "networks": {"front": {"aliases": ["Shop"]}, "default": null},
		"volumes": [{"type": "bind", "source": "/checkout/caddy", "target": "/etc/caddy"}]},
	"db": {"image": "a", "container_name": "the-db", "networks": {"default": null}}
}, "networks": {"front": {"name": "caddy", "external": true}, "default": {"name": "web_default"}}}`

func TestLostRoutes(t *testing.T) {
	model, err := compose.Decode([]byte(routesModel))
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"frontend:80": "",
		"FRONTEND:80": "",
		"shop:80":     "",
		"fronted:80":  "urls: web.example.org leads to fronted:80, and no compose service is called fronted (did you mean frontend?); there are db, frontend",
		"nothing:80":  "no compose service is called nothing; there are db, frontend",
		"db:80":       "db is on no network that a proxy can be on",
		"the-db:80":   "db is on no network that a proxy can be on",
	} {
		s := &Service{cfg: Config{Name: "web", Routes: []Route{{URL: "web.example.org", Targets: []string{target}}}}}
		got := s.lostRoutes(model)
		if (want == "") != (len(got) == 0) || want != "" && !strings.Contains(got[0], want) {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	// A proxy reaches what is beside it.
	s := &Service{cfg: Config{Name: "web", Proxy: &Proxy{}, Routes: []Route{{URL: "web.example.org", Targets: []string{"db:80"}}}}}
	if got := s.lostRoutes(model); got != nil {
		t.Errorf("a proxy's own: %q", got)
	}
}

// An entry of allow that lifts nothing is a warning before anything is deployed: the
// commit that it is meant for is refused.
func TestIdleAllow(t *testing.T) {
	dir := t.TempDir()
	var log strings.Builder
	s, err := Open(Config{
		Name: "unit", Dir: dir, Branch: "main", Timeout: time.Minute,
		Remote:  gitrepo.Remote{URL: "file:///nonexistent/unit.git"},
		Limits:  policy.Limits{Allow: []string{"privileged", "network_mod:host", "hidden-word"}},
		Project: compose.Project{Env: []string{"SECRET=hidden-word"}},
	}, hclog.New(&hclog.LoggerOptions{Output: &log}), func() {})
	if err != nil {
		t.Fatal(err)
	}
	got := s.Status().Warnings
	if len(got) != 2 || got[0] != `allow: "network_mod:host" is no rule of the policy; did you mean network_mode?` || strings.Contains(got[1], "hidden-word") {
		t.Errorf("the warnings are %q", got)
	}
	if strings.Count(log.String(), "[WARN]") != 2 || strings.Contains(log.String(), "hidden-word") {
		t.Errorf("the log is %s", log.String())
	}
}

func TestUnseenSnippet(t *testing.T) {
	for name, test := range map[string]struct{ source, want string }{
		"its directory":     {"/checkout/caddy", ""},
		"one above":         {"/checkout", ""},
		"the file":          {"/checkout/caddy/import", "mounted as a file"},
		"another directory": {"/checkout/other", "no container mounts the directory of caddy/import"},
		"outside":           {"/srv", "no container mounts"},
	} {
		model, err := compose.Decode([]byte(strings.Replace(routesModel, "/checkout/caddy", test.source, 1)))
		if err != nil {
			t.Fatal(err)
		}
		s := &Service{cfg: Config{Name: "web", Proxy: &Proxy{Import: "caddy/import"}}, project: &compose.Project{Checkout: filepath.Clean("/checkout")}}
		got := s.unseenSnippet(model)
		if (test.want == "") != (len(got) == 0) || test.want != "" && !strings.Contains(got[0], test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestDeafProxy(t *testing.T) {
	model, err := compose.Decode([]byte(routesModel))
	if err != nil {
		t.Fatal(err)
	}
	for service, want := range map[string]string{
		"":         "[]",
		"frontend": "[]",
		"fronted":  "[reload: no such service: fronted (did you mean frontend?); there are db, frontend]",
	} {
		s := &Service{cfg: Config{Name: "web", Proxy: &Proxy{Service: service}}}
		if got := fmt.Sprint(s.deafProxy(model)); got != want {
			t.Errorf("%q: %s, want %s", service, got, want)
		}
	}
}
