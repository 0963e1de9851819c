package worker

import (
	"slices"
	"testing"

	"pgo/proto"
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
