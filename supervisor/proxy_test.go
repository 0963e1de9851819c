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
		{&proto.ProxyState{Import: "a"}, "proxy:     a is not written yet\n"},
		{&proto.ProxyState{Import: "a", WrittenAt: 999, Reload: "pending"}, "proxy:     a written 1s ago, reload: pending\n"},
		{&proto.ProxyState{Import: "a", WrittenAt: 940, Reload: "reloaded", ReloadedAt: 941}, "proxy:     a written 1m0s ago, reload: reloaded 59s ago\n"},
		{
			&proto.ProxyState{Import: "a", WrittenAt: 940, Reload: "failed", ReloadedAt: 990, Error: "no\x1b[31m way"},
			"proxy:     failed, a written 1m0s ago, reload: failed 10s ago\n           no",
		},
	} {
		var r rows
		r.proxy(test.state, now)
		var b strings.Builder
		r.write(&b, false)
		if got := b.String(); !strings.HasPrefix(got, test.want) || test.want == "" && got != "" || strings.ContainsRune(got, '\x1b') {
			t.Errorf("%v: %q", test.state, got)
		}
	}
}

func TestProxyJSON(t *testing.T) {
	if proxyJSONOf(nil) != nil {
		t.Error("there is a proxy")
	}
	raw, err := json.Marshal(proxyJSONOf(&proto.ProxyState{Import: "a", WrittenAt: 940, Reload: "reloaded", ReloadedAt: 941}))
	if want := `{"import":"a","written_at":"1970-01-01T00:15:40Z","reload":"reloaded","reloaded_at":"1970-01-01T00:15:41Z"}`; string(raw) != want || err != nil {
		t.Errorf("%s, %v", raw, err)
	}
}
