package deploy

import (
	"os"
	"path/filepath"
	"testing"

	"pgo/internal/policy"
	"pgo/internal/ports"
)

// A worker of a newer version must find the basis that an older one has saved: otherwise every
// service of a host is proven again, and may be built and deployed again, after an upgrade.
func TestBasisOutlivesAnUpgrade(t *testing.T) {
	n := neighbourhood{policy: policy.Limits{
		Service: "web", Stage: "/s/stage", Checkout: "/s/checkout", Allow: []string{"privileged"},
		Ports: []ports.Range{{First: 8080, Last: 8081}}, Granted: []ports.Range{ports.One(2222)},
	}}
	if got, want := n.basis(named("c")).Limits, "f2440a7967d6152ead8351531ee35debe7d9a5264cc676372d8913f91f7d2b5e"; got != want {
		t.Errorf("the limits have the hash %s, and had %s", got, want)
	}
}

// A service whose history cannot be kept is served all the same.
func TestNoDirectoryForTheHistory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "history"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := open(t, dir).Status(); got.Outcome != "" {
		t.Errorf("status %+v", got)
	}
}

// On a full disk there is room for a state, once, and again when there is room.
func TestRoomForAState(t *testing.T) {
	dir := t.TempDir()
	s, err := openStore(dir, func() {})
	if err != nil {
		t.Fatal(err)
	}
	spare := filepath.Join(dir, spareFile)
	wants := func(w Wanted) {
		t.Helper()
		if err := s.update(func(st *State) { st.Wanted = w }); err != nil {
			t.Fatal(err)
		}
	}
	wants(Up)
	if info, err := os.Stat(spare); err != nil || info.Size() < spareSize*9/10 {
		t.Fatalf("no room is kept: %v", err)
	}
	if err := os.Remove(spare); err != nil {
		t.Fatal(err)
	}
	wants(Down)
	if _, err := os.Stat(spare); err != nil {
		t.Errorf("room is not kept again: %v", err)
	}
}
