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
		"{mem_limit: 64m}":       {{"cannot limit memory, as web asks"}},
		"{cpus: 0.5}":            {{"cannot limit CPU time, as web asks"}, {"cannot limit CPU time"}},
		"{cpu_quota: 50000}":     {{"cannot limit CPU time"}, {"cannot limit CPU time"}},
		"{pids_limit: 100}":      {{"cannot limit the number of processes"}},
		"{mem_reservation: 64m}": {},
		"{deploy: {resources: {limits: {memory: 64m, cpus: '0.5', pids: 9}}}}": {
			{"cannot limit memory", "cannot limit CPU time", "cannot limit the number of processes"}, {"cannot limit CPU time"},
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
