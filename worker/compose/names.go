package compose

import "strings"

// Hosts returns the names under which containers of the model are found on a network that they
// share with others, in lower case, each with its compose service. It leaves out names that
// compose makes up.
func (m *Model) Hosts() map[string]string {
	hosts := map[string]string{}
	for name, service := range m.services() {
		hosts[strings.ToLower(name)] = name
		if own, _ := service["container_name"].(string); own != "" {
			hosts[strings.ToLower(own)] = name
		}
		for _, settings := range objects(service["networks"]) {
			aliases, _ := settings["aliases"].([]any)
			for _, alias := range aliases {
				if alias, ok := alias.(string); ok {
					hosts[strings.ToLower(alias)] = name
				}
			}
		}
	}
	return hosts
}

// Shares reports whether a compose service is on a network that others may have joined: any
// network except the one that compose makes for the project by itself.
func (m *Model) Shares(service, project string) bool {
	networks := objects(m.root["networks"])
	joined, _ := m.services()[service]["networks"].(map[string]any)
	for key := range joined {
		if name, _ := networks[key]["name"].(string); name != project+"_default" {
			return true
		}
	}
	mode, _ := m.services()[service]["network_mode"].(string)
	return mode != "" // whoever asks for that knows what it reaches
}
