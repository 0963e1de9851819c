package supervisor

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgo/internal/config"
	"pgo/proto"
)

func TestProxyOf(t *testing.T) {
	if got := proxyOf(config.Service{Name: "web"}); got != nil {
		t.Errorf("a service without import is a proxy: %v", got)
	}
	s := config.Service{
		Import: "caddy/Caddyfile-import",
		Reload: config.Reload{Service: "caddy", Command: []string{"caddy", "reload"}},
		URLs:   []config.Route{{URL: "app.example.org", Targets: []config.Target{{Host: "web", Port: 80}, {Host: "web2", Port: 8080}}}},
	}
	got := proxyOf(s)
	if got.GetImport() != s.Import || got.GetService() != "caddy" || strings.Join(got.GetCommand(), " ") != "caddy reload" {
		t.Errorf("proxy %v", got)
	}
	routes := routesOf(s)
	if len(routes) != 1 || routes[0].GetUrl() != "app.example.org" || strings.Join(routes[0].GetTargets(), " ") != "web:80 web2:8080" {
		t.Errorf("routes %v", routes)
	}
}

func TestProxyRow(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, test := range []struct {
		state *proto.ProxyState
		want  string
	}{
		{nil, ""},
		{&proto.ProxyState{Import: "a"}, "\nproxy:     a is not written yet\n"},
		{
			&proto.ProxyState{Import: "a", WrittenAt: 999, Reload: proto.ProxyState_RELOAD_PENDING},
			"\nproxy:     a written 1s ago, reload: pending\n",
		},
		{
			&proto.ProxyState{Import: "a", WrittenAt: 940, Reload: proto.ProxyState_RELOAD_RELOADED, ReloadedAt: 941},
			"\nproxy:     a written 1m0s ago, reload: reloaded 59s ago\n",
		},
		{
			&proto.ProxyState{Import: "a", WrittenAt: 940, Reload: proto.ProxyState_RELOAD_FAILED, ReloadedAt: 990, Error: "no\x1b[31m way"},
			"\nproxy:     failed, a written 1m0s ago, reload: failed 10s ago\n           no",
		},
	} {
		status := seen{snapshot: snapshot{report: &proto.State{Proxy: test.state}}}.status(now)
		got := status.Rows(now).Text(false)
		if !strings.Contains(got, test.want) || test.want == "" && strings.Contains(got, "proxy:") || strings.ContainsRune(got, '\x1b') {
			t.Errorf("%v: %q", test.state, got)
		}
	}
}

func TestProxyJSON(t *testing.T) {
	status := seen{snapshot: snapshot{report: &proto.State{Proxy: &proto.ProxyState{
		Import: "a", WrittenAt: 940, Reload: proto.ProxyState_RELOAD_RELOADED, ReloadedAt: 941,
	}}}}.status(statusNow)
	raw, err := json.Marshal(status.Proxy)
	if want := `{"import":"a","written_at":"1970-01-01T00:15:40Z","reload":"reloaded","reloaded_at":"1970-01-01T00:15:41Z"}`; string(raw) != want || err != nil {
		t.Errorf("%s, %v", raw, err)
	}
}
