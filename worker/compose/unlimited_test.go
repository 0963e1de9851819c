package compose

import (
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/system"
)

// What an engine does not enforce is said, and only that.
func TestUnlimited(t *testing.T) {
	none := defaultsOf(system.Info{CgroupDriver: "none", SecurityOptions: []string{"name=seccomp,profile=default", "name=rootless"}})
	if !none.rootless || !none.uncounted || none.cgroupns != "host" {
		t.Errorf("a rootless engine without cgroups: %+v", none)
	}
	full := defaultsOf(system.Info{CgroupDriver: "systemd", MemoryLimit: true, CPUCfsQuota: true, PidsLimit: true, SecurityOptions: []string{"name=cgroupns"}})
	if full.rootless || full.uncounted || full.cgroupns != "private" || len(full.unlimited) > 0 {
		t.Errorf("an engine with cgroup v2: %+v", full)
	}
	partly := defaultsOf(system.Info{CgroupDriver: "systemd", MemoryLimit: true, PidsLimit: true})
	for text, wants := range map[string][2][]string{
		"{}":                     {},
		"{mem_limit: 64m}":       {{"the limit on memory of web has no effect"}},
		"{cpus: 0.5}":            {{"the limit on CPU time of web has no effect"}, {"the limit on CPU time of"}},
		"{cpu_quota: 50000}":     {{"the limit on CPU time of"}, {"the limit on CPU time of"}},
		"{pids_limit: 100}":      {{"the limit on the number of processes of"}},
		"{mem_reservation: 64m}": {},
		"{deploy: {resources: {limits: {memory: 64m, cpus: '0.5', pids: 9}}}}": {
			{"the limit on memory of", "the limit on CPU time of", "the limit on the number of processes of"}, {"the limit on CPU time of"},
		},
		"{deploy: {resources: {reservations: {memory: 64m}}}}": {},
	} {
		service := strings.Replace(text, "{", "{image: busybox, ", 1)
		m := resolve(t, project(t), tree(t, map[string]string{"compose.yaml": "services: {other: {image: busybox}, web: " + service + "}"}), "")
		for i, d := range []defaults{none, partly, full} {
			var want []string
			if i < 2 {
				want = wants[i]
			}
			fits := func(got, want string) bool { return strings.Contains(got, want) }
			if got := unlimited(m, d); !slices.EqualFunc(got, want, fits) {
				t.Errorf("%s on engine %d: %q, want %q", text, i, got, want)
			}
		}
	}
}
