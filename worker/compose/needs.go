package compose

import (
	"fmt"
	"maps"
	"slices"
)

// Unmakeable returns what compose refuses to make of a model, which it says only when everything
// else was taken down. The error is an ErrNoModel, or nil.
func Unmakeable(m *Model) error {
	for _, name := range m.Services() {
		service := m.services()[name]
		for _, section := range fileSections {
			entries := objects(m.root[section])
			for _, ref := range list(service[section]) {
				source, _ := ref["source"].(string)
				entry, at := entries[source], section+"."+source
				content, _ := entry["content"].(string)
				value, _ := entry[valueKey].(string)
				switch {
				case entry["external"] == true:
					return &unresolved{text: at + ": external is for Swarm alone; use file, environment or content"}
				case service["read_only"] == true && content+value != "":
					return &unresolved{text: fmt.Sprintf("services.%s is read_only, and docker compose can give it %s only from a file", name, at)}
				}
			}
		}
	}
	return nil
}

// Required returns the files of secrets and configs, each with the first key that names it: no
// container is made without them, and nothing makes them.
func Required(m *Model) map[string]string {
	keys := map[string]string{}
	for _, section := range fileSections {
		entries := objects(m.root[section])
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			path, _ := entries[name]["file"].(string)
			if path != "" && keys[path] == "" && usesFile(m, section, name) {
				keys[path] = section + "." + name + ".file"
			}
		}
	}
	return keys
}
