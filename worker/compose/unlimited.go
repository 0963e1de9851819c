package compose

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/system"
)

// limitKeys are what a compose service may ask an engine to limit, and whether that can.
var limitKeys = []struct {
	what string
	can  func(system.Info) bool
	keys [][]string
}{
	{"memory", func(i system.Info) bool { return i.MemoryLimit }, [][]string{{"mem_limit"}, {"deploy", "resources", "limits", "memory"}}},
	{"CPU time", func(i system.Info) bool { return i.CPUCfsQuota }, [][]string{{"cpus"}, {"cpu_quota"}, {"deploy", "resources", "limits", "cpus"}}},
	{"the number of processes", func(i system.Info) bool { return i.PidsLimit }, [][]string{{"pids_limit"}, {"deploy", "resources", "limits", "pids"}}},
}

// Unlimited returns a warning for each kind of limit in the model that the engine does not enforce. It
// says that only when it is asked to create a container, and starts it all the same.
func (e *Engine) Unlimited(ctx context.Context, m *Model) ([]string, error) {
	d, err := e.settings(ctx, false)
	if err != nil {
		return nil, err
	}
	return unlimited(m, d), nil
}

func unlimited(m *Model, d defaults) (warnings []string) {
	services := m.services()
	for _, limit := range limitKeys {
		if !slices.Contains(d.unlimited, limit.what) {
			continue
		}
		var named []string
		for _, name := range slices.Sorted(maps.Keys(services)) {
			if slices.ContainsFunc(limit.keys, func(path []string) bool { return isSet(services[name], path) }) {
				named = append(named, name)
			}
		}
		if len(named) > 0 {
			why := ""
			if d.rootless {
				why = ": rootless, it needs cgroup v2 and systemd"
			}
			warnings = append(warnings, fmt.Sprintf("the limit on %s of %s has no effect: the Docker engine here cannot enforce it%s", limit.what, strings.Join(named, ", "), why))
		}
	}
	return warnings
}

// isSet reports whether a value within objects is there, and is not 0, as limits are that do not count.
func isSet(service map[string]any, path []string) bool {
	var value any = service
	for _, key := range path {
		object, _ := value.(map[string]any)
		value = object[key]
	}
	text := fmt.Sprint(value)
	return value != nil && text != "" && text != "0"
}
