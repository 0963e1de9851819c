package supervisor

import (
	"strings"
	"testing"
	"time"

	"pgo/internal/config"
)

func TestPowerless(t *testing.T) {
	s := newSupervisor(t)
	f := s.NewFetcher(config.Upstream{User: "pgo-config"})
	if err := f.powerless(t.Context(), account{uid: 71234, gid: 71234, groups: []uint32{71234}}); err != nil {
		t.Errorf("a user of its own: %v", err)
	}
	if err := f.powerless(t.Context(), account{}); err == nil || !strings.Contains(err.Error(), "root by another name") {
		t.Errorf("root: %v", err)
	}
	group, err := getent(t.Context(), "group", dockerGroup)
	if err != nil {
		t.Fatalf("make machine sets up the group: %v", err)
	}
	ids, err := numbers(group[2:3])
	if err != nil {
		t.Fatal(err)
	}
	if err := f.powerless(t.Context(), account{uid: 71234, groups: ids}); err == nil || !strings.Contains(err.Error(), "group docker") {
		t.Errorf("a member of docker: %v", err)
	}
}

func TestUpstreamText(t *testing.T) {
	var none *Upstream
	if none.text(statusNow) != "" || none.status() != nil {
		t.Error("there is an upstream")
	}
	u := &Upstream{From: "https://git.example.org/conf//pgo.toml, branch main"}
	if got := u.text(statusNow); got != "\nConfiguration: https://git.example.org/conf//pgo.toml, branch main: nothing of it is in force yet\n" {
		t.Errorf("%q", got)
	}
	u.Commit, u.Subject, u.Author = "0123456789", "on board", "Ada"
	u.Looking = statusNow.Add(-longLook + 1) // any look takes that long
	if got := u.text(statusNow); !strings.HasSuffix(got, ": 0123456 \"on board\" by Ada\n") {
		t.Errorf("%q", got)
	}
	u.Looking = statusNow.Add(-20 * time.Second)
	if got := u.text(statusNow); !strings.HasSuffix(got, " by Ada\n  fetching for 20s\n") {
		t.Errorf("%q", got)
	}
	if got := u.status().Fetching; !got.Equal(u.Looking) {
		t.Errorf("it is fetched since %v", got)
	}
}
