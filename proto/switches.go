package proto

import (
	"maps"
	"path"
	"slices"
)

// SwitchesRoot stands for the directory of the switches in a snippet that pgod sends: only the
// proxy's worker knows where the proxy has it.
const SwitchesRoot = "{pgo.switches}"

// SwitchPrefix returns what the names of all switches next to a snippet begin with. They are files in
// the snippet's own directory: Caddy 2.6 reads nothing if `import dir/*` finds a directory.
func SwitchPrefix(snippet string) string { return "." + path.Base(snippet) + ".switch." }

// SwitchMap returns switches as a map from the host of a target to the container.
func SwitchMap(s *Switches) map[string]string {
	all := map[string]string{}
	for _, one := range s.GetAll() {
		all[one.GetHost()] = one.GetContainer()
	}
	return all
}

// SwitchList returns switches as they are sent.
func SwitchList(all map[string]string) *Switches {
	s := &Switches{}
	for _, host := range slices.Sorted(maps.Keys(all)) {
		s.All = append(s.All, &Switch{Host: host, Container: all[host]})
	}
	return s
}
