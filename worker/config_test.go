package worker

import (
	"slices"
	"testing"

	"golang.org/x/net/http/httpproxy"

	"pgo/proto"
	"pgo/worker/compose"
)

func TestSubmodulesFromElsewhereAreOfAllow(t *testing.T) {
	allow := []string{"privileged", "submodule:https://lib.example.org", "submodule", "bind:/submodule:", "submodule:git://git.example.org"}
	cfg := serviceConfig(&proto.ConfigureRequest{Repository: "https://git.example.org/app.git", Limits: &proto.Limits{Allow: allow}})
	if got, want := cfg.Remote.Submodules, []string{"https://lib.example.org", "git://git.example.org"}; !slices.Equal(got, want) {
		t.Errorf("submodules may come from %q, want %q", got, want)
	}
	if !slices.Equal(cfg.Limits.Allow, allow) {
		t.Errorf("the policy allows %q", cfg.Limits.Allow)
	}
}

// Whatever reaches servers has the proxies and the certificates: git, for a service and for the
// configuration, and builds.
func TestProxiesReachGitAndBuilds(t *testing.T) {
	r := &proto.ConfigureRequest{
		Repository: "https://git.example.org/app.git", Ca: []byte("certificates"),
		WebProxies: &proto.WebProxies{Http: "http://a:1", Https: "http://b:2", None: "c"},
	}
	cfg := serviceConfig(r)
	if got, want := cfg.Remote.Proxy, (httpproxy.Config{HTTPProxy: "http://a:1", HTTPSProxy: "http://b:2", NoProxy: "c"}); got != want {
		t.Errorf("git has %v", got)
	}
	if got, want := cfg.Project.Proxies, (compose.Proxies{HTTP: "http://a:1", HTTPS: "http://b:2", No: "c"}); got != want {
		t.Errorf("builds have %v", got)
	}
	if string(cfg.Remote.CA) != "certificates" || string(cfg.Project.CA) != "certificates" {
		t.Errorf("git has %q, builds have %q", cfg.Remote.CA, cfg.Project.CA)
	}
}
