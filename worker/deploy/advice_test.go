package deploy

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/policy"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// routesModel has a compose service on the proxy's network, also under an alias, and one
// that is not on it.
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
		"db:80":       "db is not on any network that a proxy can be on",
		"the-db:80":   "db is not on any network that a proxy can be on",
	} {
		s := &advice{name: "web", proxy: &proxy{}, routes: []Route{{URL: "web.example.org", Targets: []string{target}}}}
		got := s.lostRoutes(model)
		if (want == "") != (len(got) == 0) || want != "" && !strings.Contains(got[0], want) {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	// A proxy reaches what is next to it.
	s := &advice{name: "web", proxy: &proxy{entry: &Proxy{}}, routes: []Route{{URL: "web.example.org", Targets: []string{"db:80"}}}}
	if got := s.lostRoutes(model); got != nil {
		t.Errorf("the proxy's own urls: %q", got)
	}
}

// An entry of allow that lifts nothing causes a warning before anything is deployed: the
// commit that it is meant for is refused.
func TestIdleAllow(t *testing.T) {
	dir := t.TempDir()
	var log strings.Builder
	s, err := Open(Config{
		Name: "unit", Dir: dir, Branch: "main", Timeout: time.Minute,
		Remote:  gitrepo.Remote{URL: "file:///nonexistent/unit.git"},
		Limits:  policy.Limits{Allow: []string{"privileged", "network_mod:host", "hidden-word"}},
		Project: compose.Project{Env: []string{"SECRET=hidden-word"}},
	}, NewQueue(), hclog.New(&hclog.LoggerOptions{Output: &log}), func() {})
	if err != nil {
		t.Fatal(err)
	}
	got := s.Status().Warnings
	if len(got) != 2 || got[0] != `allow: "network_mod:host" is not a rule of the policy; did you mean network_mode?` || strings.Contains(got[1], "hidden-word") {
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
		s := &advice{proxy: &proxy{entry: &Proxy{Import: "caddy/import"}}, store: &store{}, files: &workspace{project: &compose.Project{Checkout: "/checkout"}}}
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
		s := &advice{proxy: &proxy{entry: &Proxy{Service: service}}}
		if got := fmt.Sprint(s.deafProxy(model)); got != want {
			t.Errorf("%q: %s, want %s", service, got, want)
		}
	}
}

func TestClosedPorts(t *testing.T) {
	const missing = "urls: http://x.example.org:8080: no container of this service publishes its port 8080"
	for name, test := range map[string]struct{ service, want string }{
		"published":              {`{"ports": [{"target": 80, "published": "80", "protocol": "tcp"}, {"target": 8080, "published": "8080", "protocol": "tcp"}]}`, ""},
		"at another host port":   {`{"ports": [{"target": 8080, "published": "80", "protocol": "tcp"}]}`, ""},
		"one of a range":         {`{"ports": [{"target": 8079, "published": "8079"}, {"target": 8080, "published": "8080"}]}`, ""},
		"to another port":        {`{"ports": [{"target": 80, "published": "8080", "protocol": "tcp"}]}`, missing},
		"another protocol":       {`{"ports": [{"target": 80, "published": "80"}, {"target": 8080, "published": "8080", "protocol": "udp"}]}`, missing},
		"nothing":                {`{}`, ""}, // others lead there
		"the host's network":     {`{"network_mode": "host", "ports": [{"target": 80}]}`, ""},
		"a container's network":  {`{"network_mode": "container:front", "ports": [{"target": 80}]}`, ""},
		"a neighbour's network":  {`{"network_mode": "service:front", "ports": [{"target": 80}]}`, missing},
		"what cannot be a port":  {`{"ports": [{"target": 80}, {"target": "x"}, {}, null]}`, missing},
		"a port that is written": {`{"ports": [{"target": "8080"}]}`, ""},
	} {
		model, err := compose.Decode([]byte(`{"name": "web", "services": {"caddy": ` + test.service + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		s := &advice{proxy: &proxy{entry: &Proxy{}}, around: &neighbourhood{}}
		s.around.adjust(Neighbours{Ports: map[string]uint32{"http://x.example.org:8080": 8080}})
		if got := strings.Join(s.closedPorts(model), "; "); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
		s.proxy.entry = nil
		if got := s.closedPorts(model); got != nil {
			t.Errorf("%s, and no proxy: %q", name, got)
		}
	}
}

// A warning that is not new is not logged again, and warnings about the urls of others come
// and go with those urls.
func TestJudgeAgain(t *testing.T) {
	s := open(t, t.TempDir())
	var log strings.Builder
	s.work.advice.log = hclog.New(&hclog.LoggerOptions{Output: &log})
	s.proxy.entry = &Proxy{Import: "caddy/import"}
	model := `{"name": "unit", "services": {"caddy": {"image": "a", "ports": [{"target": 80, "published": "80"}]}}}`
	if err := os.WriteFile(s.files.path(deployedModel), []byte(model), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.store.update(func(st *State) { st.Checkout = []gitrepo.Hash{named("a")} }); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		ports      map[string]uint32
		has, lines int
	}{
		{nil, 1, 1},
		{map[string]uint32{"http://x.example.org:8080": 8080}, 2, 2},
		{map[string]uint32{"http://x.example.org:8080": 8080}, 2, 2},
		{nil, 1, 2},
	} {
		s.Adjust(Neighbours{Ports: step.ports})
		turn(s).SyncProxy(t.Context())
		if got := s.Status().Warnings; len(got) != step.has {
			t.Errorf("with the ports %v the warnings are %q", step.ports, got)
		}
		if n := strings.Count(log.String(), "[WARN]"); n != step.lines {
			t.Errorf("with the ports %v the log is %s", step.ports, log.String())
		}
	}
}

func TestThereAre(t *testing.T) {
	for want, names := range map[string][]string{"there is none": nil, "there is only b": {"b"}, "there are a, b": {"a", "b"}} {
		if got := thereAre(names); got != want {
			t.Errorf("%q: %s, want %s", names, got, want)
		}
	}
	model, err := compose.Decode([]byte(`{"name": "web", "services": {"b": {"image": "a"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	s := &advice{proxy: &proxy{}, routes: []Route{{URL: "x.example.org", Targets: []string{"other:80"}}}}
	if got, want := strings.Join(s.lostRoutes(model), ""), "no compose service is called other; there is only b"; !strings.HasSuffix(got, want) {
		t.Errorf("%q, want %s", got, want)
	}
}
