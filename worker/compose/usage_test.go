package compose

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/moby/moby/api/types/container"
)

// The measure is what `docker stats` shows, with both versions of cgroups.
func TestMemory(t *testing.T) {
	for _, test := range []struct {
		name  string
		stats container.MemoryStats
		want  uint64
	}{
		{"version 1", container.MemoryStats{Usage: 100, Stats: map[string]uint64{"total_inactive_file": 30, "inactive_file": 10}}, 70},
		{"version 2", container.MemoryStats{Usage: 100, Stats: map[string]uint64{"inactive_file": 10}}, 90},
		{"nothing is known of it", container.MemoryStats{Usage: 100}, 100},
		{"read at two moments", container.MemoryStats{Usage: 100, Stats: map[string]uint64{"inactive_file": 101}}, 100},
	} {
		if got := memory(test.stats); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func TestPublished(t *testing.T) {
	got := published([]container.Summary{
		{ID: "0123456789abcdef", Ports: []container.PortSummary{{IP: netip.MustParseAddr("0.0.0.0"), PrivatePort: 80, PublicPort: 8080, Type: "tcp"}, {PrivatePort: 81, Type: "tcp"}}},
		{Names: []string{"/web-1"}, Labels: map[string]string{projectLabel: "web"}, Ports: []container.PortSummary{{PublicPort: 53, Type: "udp"}}},
	})
	want := []Published{
		{Container: "0123456789ab", IP: "0.0.0.0", Port: 8080, Protocol: "tcp"},
		{Container: "web-1", Project: "web", Port: 53, Protocol: "udp"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
