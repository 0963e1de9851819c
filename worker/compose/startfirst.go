package compose

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// StartsSecond returns why the new containers of a compose service cannot start before those end
// that they replace, or "" if they can. Whether anything switches requests to them is not asked.
// declared has the volumes that its image declares.
func StartsSecond(m *Model, service string, declared []string) string {
	s := m.services()[service]
	settings, _ := s[extension].(map[string]any)
	fine, said := settings[startFirst].(bool)
	if said && !fine {
		return extension + " says so"
	}
	for _, rule := range []func(map[string]any) string{publishes, isNamed, hasAddress, sharesNetwork} {
		if why := rule(s); why != "" {
			return why
		}
	}
	for _, name := range m.Services() {
		if other := m.services()[name]; name != service && joins(other, service) {
			return name + " shares its namespaces or volumes"
		}
	}
	if hooks := list(s["pre_stop"]); m.Replicas(service) > 1 && len(hooks) > 0 {
		return "it has several containers, and pre_stop hooks"
	}
	if at := nameless(s, declared); at != "" {
		return "it has a volume without a name, at " + at + ", which would not be handed on"
	}
	if fine {
		return ""
	}
	why := writes(s)
	if why != "" {
		why += fmt.Sprintf(" (if two containers at once are fine: %s: {%s: true})", extension, startFirst)
	}
	return why
}

func publishes(s map[string]any) string {
	if len(list(s["ports"])) > 0 {
		return "it publishes a port of the host"
	}
	return ""
}

func isNamed(s map[string]any) string {
	if name, _ := s["container_name"].(string); name != "" {
		return "it has a container_name"
	}
	return ""
}

func hasAddress(s map[string]any) string {
	if s["mac_address"] != nil {
		return "it has a fixed address"
	}
	for _, settings := range objects(s["networks"]) {
		for _, key := range []string{"ipv4_address", "ipv6_address", "mac_address", "link_local_ips"} {
			if settings[key] != nil {
				return "it has a fixed address"
			}
		}
	}
	return ""
}

func sharesNetwork(s map[string]any) string {
	if mode, _ := s["network_mode"].(string); mode != "" {
		return "it has a network_mode"
	}
	if sharesNamespace(s) || len(anyList(s["volumes_from"])) > 0 {
		return "it shares the namespaces or volumes of another container"
	}
	return ""
}

// joins reports whether a compose service has a namespace, or the volumes, of the named one.
func joins(s map[string]any, name string) bool {
	for _, key := range []string{"network_mode", "pid", "ipc"} {
		if s[key] == "service:"+name {
			return true
		}
	}
	return slices.ContainsFunc(anyList(s["volumes_from"]), func(from any) bool {
		text, _ := from.(string)
		first, _, _ := strings.Cut(text, ":")
		return first == name
	})
}

// nameless returns where the containers of a compose service have a volume without a name, or "".
// declared has the volumes that its image declares.
func nameless(s map[string]any, declared []string) string {
	covered := map[string]bool{}
	for _, v := range list(s["volumes"]) {
		target, _ := v["target"].(string)
		if source, _ := v["source"].(string); source == "" && v["type"] == "volume" {
			return target
		}
		covered[filepath.Clean(target)] = true
	}
	texts := anyList(s["tmpfs"])
	if one, ok := s["tmpfs"].(string); ok {
		texts = append(texts, one)
	}
	for _, v := range texts {
		text, _ := v.(string)
		target, _, _ := strings.Cut(text, ":")
		covered[filepath.Clean(target)] = true
	}
	for _, at := range declared {
		if !covered[at] {
			return at
		}
	}
	return ""
}

// writes returns what two containers at once would both write to, or "".
func writes(s map[string]any) string {
	if len(anyList(s["devices"])) > 0 || s["gpus"] != nil || reserves(s) {
		return "it has a device"
	}
	for _, v := range list(s["volumes"]) {
		target, _ := v["target"].(string)
		if kind := v["type"]; v["read_only"] != true && kind != "tmpfs" && kind != "image" {
			return "it can write to what it mounts at " + target
		}
	}
	return ""
}

// reserves reports whether a compose service asks for devices of the engine.
func reserves(s map[string]any) bool {
	deploy, _ := s["deploy"].(map[string]any)
	resources, _ := deploy["resources"].(map[string]any)
	reservations, _ := resources["reservations"].(map[string]any)
	return len(anyList(reservations["devices"])) > 0
}

func anyList(v any) []any {
	all, _ := v.([]any)
	return all
}

// NamedBy returns the compose services that are found under a name on a network, sorted.
func NamedBy(m *Model, host string) []string {
	found := map[string]bool{}
	for name, s := range m.services() {
		own, _ := s["container_name"].(string)
		found[name] = strings.EqualFold(name, host) || strings.EqualFold(own, host)
		for _, settings := range objects(s["networks"]) {
			found[name] = found[name] || slices.ContainsFunc(anyList(settings["aliases"]), func(alias any) bool {
				text, _ := alias.(string)
				return strings.EqualFold(text, host)
			})
		}
	}
	maps.DeleteFunc(found, func(_ string, named bool) bool { return !named })
	return slices.Sorted(maps.Keys(found))
}

// reservedMemory returns what the model reserves for a container, in bytes; 0: nothing.
func reservedMemory(m *Model, service string) uint64 {
	s := m.services()[service]
	deploy, _ := s["deploy"].(map[string]any)
	resources, _ := deploy["resources"].(map[string]any)
	reservations, _ := resources["reservations"].(map[string]any)
	for _, v := range []any{s["mem_reservation"], reservations["memory"]} {
		var n uint64
		if _, err := fmt.Sscan(fmt.Sprint(v), &n); err == nil && n > 0 {
			return n
		}
	}
	return 0
}

// SeenAt returns where the containers of a compose service see a directory below the checkout, or
// why they do not see it.
func SeenAt(m *Model, service, checkout, dir string) (string, error) {
	s, there := m.services()[service]
	if !there {
		return "", fmt.Errorf("there is no compose service %s", service)
	}
	wanted := filepath.Join(checkout, dir)
	at := ""
	for _, v := range list(s["volumes"]) {
		source, _ := v["source"].(string)
		target, _ := v["target"].(string)
		if rel, ok := below(source, wanted); ok && v["type"] == "bind" && len(source) > 1 {
			at = filepath.Join(target, rel) // of several, any will do
		}
	}
	if at == "" {
		return "", fmt.Errorf("%s does not mount the directory ./%s", service, dir)
	}
	// What is mounted over a part of it hides that.
	for _, v := range list(s["volumes"]) {
		target, _ := v["target"].(string)
		source, _ := v["source"].(string)
		if rel, ok := below(target, at); ok && rel != "." || target == at {
			if _, same := below(source, wanted); !same {
				return "", fmt.Errorf("%s mounts something else over %s", service, at)
			}
		}
	}
	return at, nil
}

// RoomFor returns how much memory one more container of each of these compose services may need, in
// bytes: what the model reserves for it, or what one of it uses now.
func RoomFor(ctx context.Context, e *Engine, m *Model, project string, services []string) (sum uint64, err error) {
	var usages []Usage
	for _, service := range services {
		most := reservedMemory(m, service)
		if most == 0 && usages == nil {
			if usages, err = e.Usage(ctx, project); err != nil {
				return 0, err
			}
		}
		for _, u := range usages {
			if u.Service == service && u.State == "running" && reservedMemory(m, service) == 0 {
				most = max(most, u.Memory)
			}
		}
		sum += most
	}
	return sum, nil
}
