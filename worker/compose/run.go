package compose

import (
	"bytes"
	"cmp"
	"encoding"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/network"
	"time"

	"pgo/internal/ports"
	"pgo/internal/secretword"
)

// InputsLabel is the label on each container that pgo starts for the state of the files that its
// compose service uses. Compose compares labels, not files.
const InputsLabel = "pgo.inputs"

// Document returns the model itself, for a reader that changes nothing.
func (m *Model) Document() map[string]any { return m.root }

// Clone returns a copy that can be changed.
func (m *Model) Clone() *Model {
	return &Model{root: mapStrings(m.root, same, same).(map[string]any)}
}

// RunImages has compose services run these images, whatever their names mean by now. Compose
// neither builds nor pulls them.
func (m *Model) RunImages(ids map[string]string) {
	for name, id := range ids {
		if service := m.services()[name]; service != nil {
			service["image"] = id
			delete(service, "build")
			delete(service, "pull_policy")
		}
	}
}

// Label gives a compose service a label.
func (m *Model) Label(service, label, value string) {
	s := m.services()[service]
	if s == nil {
		return
	}
	labels, _ := s["labels"].(map[string]any)
	if labels == nil {
		labels = map[string]any{}
	}
	labels[label] = value
	s["labels"] = labels
}

// Versions returns the file's versions: x-gpo-version, and x-pgo-version for anyone who spells it
// right. They mean nothing to compose, and force a deploy. (Those of a single compose service do
// not get into a model.)
func (m *Model) Versions() []string {
	var versions []string
	for _, key := range []string{"x-gpo-version", "x-pgo-version"} {
		if v, ok := m.root[key]; ok {
			versions = append(versions, fmt.Sprint(key, "=", v))
		}
	}
	return versions
}

// UsedBy returns the paths below root with which a compose service's containers are started,
// relative to root, sorted. "." is root itself.
func (m *Model) UsedBy(service, root string) []string {
	s := m.services()[service]
	only := map[string]any{"services": map[string]any{service: s}}
	// Configs, secrets and volumes belong to whoever refers to them.
	for _, section := range []string{"configs", "secrets"} {
		refs := map[string]bool{}
		for _, ref := range list(s[section]) {
			name, _ := ref["source"].(string)
			refs[name] = true
		}
		only[section] = pick(m.root[section], refs)
	}
	mounted := map[string]bool{}
	for _, volume := range list(s["volumes"]) {
		if name, ok := volume["source"].(string); ok && volume["type"] == "volume" {
			mounted[name] = true
		}
	}
	only["volumes"] = pick(m.root["volumes"], mounted)
	return (&Model{root: only}).Uses(root, Mounted)
}

func pick(section any, names map[string]bool) map[string]any {
	picked := map[string]any{}
	for name, entry := range objects(section) {
		if names[name] {
			picked[name] = entry
		}
	}
	return picked
}

// SharesContainers reports whether a container has a namespace or the mounts of another one.
func (m *Model) SharesContainers() bool {
	for _, service := range m.services() {
		from, _ := service["volumes_from"].([]any)
		if len(from) > 0 {
			return true
		}
		if sharesNamespace(service) {
			return true
		}
	}
	return false
}

// SharesNamespace reports whether the containers of a compose service have a namespace of
// another one.
func SharesNamespace(m *Model, service string) bool { return sharesNamespace(m.services()[service]) }

func sharesNamespace(service map[string]any) bool {
	return slices.ContainsFunc([]string{"network_mode", "pid", "ipc"}, func(key string) bool {
		mode, _ := service[key].(string)
		return strings.HasPrefix(mode, "service:")
	})
}

// MountAt reports whether a compose service mounts something of its own at a place in its
// containers, and whether it wants a volume without a name there.
func (m *Model) MountAt(service, target string) (named, nameless bool) {
	for _, volume := range list(m.services()[service]["volumes"]) {
		at, _ := volume["target"].(string)
		if filepath.Clean(at) != target {
			continue
		}
		if source, _ := volume["source"].(string); source != "" {
			named = true
		} else if volume["type"] == "volume" {
			nameless = true
		}
	}
	return named, nameless
}

// Outside returns the names of the networks, or volumes, that compose does not make but expects
// to exist, sorted.
func (m *Model) Outside(section string) []string {
	used := map[string]bool{}
	for _, service := range m.services() {
		networks, _ := service["networks"].(map[string]any)
		for name := range networks {
			used[name] = true
		}
		for _, volume := range list(service["volumes"]) {
			if name, ok := volume["source"].(string); ok {
				used[name] = true
			}
		}
	}
	var names []string
	for key, entry := range objects(m.root[section]) {
		name, _ := entry["name"].(string)
		if entry["external"] == true && used[key] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Network is a network that compose makes for a model.
type Network struct {
	Key, Name, Driver string
	IPv6, NoIPv4      bool
	Subnets           []network.IPAMConfig
	Wrong             error // an address in the file that is none
}

// FromPool reports whether the engine takes the network's addresses from its pools for IPv4.
func (n Network) FromPool() bool { return len(n.Subnets) == 0 && !n.NoIPv4 }

// NetworksOf returns the networks that compose makes if they do not exist: those that are not
// external and that a compose service uses.
func NetworksOf(m *Model) []Network {
	used := map[string]bool{}
	for _, service := range m.services() {
		networks, _ := service["networks"].(map[string]any)
		for key := range networks {
			used[key] = true
		}
	}
	var all []Network
	for key, entry := range objects(m.root["networks"]) {
		if !used[key] || entry["external"] == true {
			continue
		}
		n := Network{Key: key}
		n.Name, _ = entry["name"].(string)
		n.Driver, _ = entry["driver"].(string)
		n.IPv6, _ = entry["enable_ipv6"].(bool)
		n.NoIPv4 = entry["enable_ipv4"] == false
		ipam, _ := entry["ipam"].(map[string]any)
		for _, pool := range list(ipam["config"]) {
			subnet, err := subnetOf(pool)
			n.Subnets, n.Wrong = append(n.Subnets, subnet), cmp.Or(n.Wrong, err)
		}
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b Network) int { return strings.Compare(a.Key, b.Key) })
	return all
}

// subnetOf reads an entry of ipam.config. Compose itself does not check what is in it.
func subnetOf(pool map[string]any) (subnet network.IPAMConfig, err error) {
	for _, address := range []struct {
		key  string
		into encoding.TextUnmarshaler
	}{{"subnet", &subnet.Subnet}, {"gateway", &subnet.Gateway}, {"ip_range", &subnet.IPRange}} {
		text, _ := pool[address.key].(string)
		if wrong := address.into.UnmarshalText([]byte(text)); wrong != nil {
			err = cmp.Or(err, fmt.Errorf("%s: %q is not an address", address.key, text))
		}
	}
	return subnet, err
}

// VolumeNames returns the names that the model's volumes have in the engine.
func (m *Model) VolumeNames() []string {
	var names []string
	for _, volume := range objects(m.root["volumes"]) {
		if name, ok := volume["name"].(string); ok && name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// SameNetwork reports whether two models ask for the same network of that name.
func SameNetwork(a, b *Model, name string) bool {
	keyA, inA := networkOf(a, name)
	keyB, inB := networkOf(b, name)
	return inA != nil && inB != nil && keyA == keyB && bytes.Equal(render(inA), render(inB))
}

// MakesNetwork reports whether compose makes a network of that name for the model.
func MakesNetwork(m *Model, name string) bool {
	_, network := networkOf(m, name)
	return network != nil && network["external"] != true
}

// networkOf returns the network of that name and its key in the file, or nil.
func networkOf(m *Model, name string) (key string, network map[string]any) {
	for key, entry := range objects(m.root["networks"]) {
		if entry["name"] == name {
			return key, entry
		}
	}
	return "", nil
}

// ContainerNames returns the names that a model's containers will have, each with its compose
// service.
func ContainerNames(m *Model, project string) map[string]string {
	names := map[string]string{}
	for name, service := range m.services() {
		if own, _ := service["container_name"].(string); own != "" {
			names[own] = name
			continue
		}
		for i := range min(m.Replicas(name), maxNames) {
			names[fmt.Sprintf("%s-%s-%d", project, name, i+1)] = name
		}
	}
	return names
}

// maxNames bounds how many names ContainerNames makes for a compose service.
const maxNames = 1000

// WithVolumes returns the model as it will be run: existing volumes stay as they were made,
// whatever the model says about them.
func (m *Model) WithVolumes(made map[string]Volume) *Model {
	m = m.Clone()
	for _, volume := range objects(m.root["volumes"]) {
		name, _ := volume["name"].(string)
		v, exists := made[name]
		if !exists {
			continue
		}
		volume["driver"] = v.Driver
		delete(volume, "driver_opts")
		if len(v.Options) > 0 {
			options := map[string]any{}
			for key, value := range v.Options {
				options[key] = value
			}
			volume["driver_opts"] = options
		}
	}
	return m
}

// WithoutBuild returns the model without what images are built from.
func (m *Model) WithoutBuild() *Model {
	m = m.Clone()
	for _, service := range m.services() {
		delete(service, "build")
	}
	return m
}

// HostPort is a host port, or a range of them, that a compose service asks for.
type HostPort struct {
	Service     string // the compose service that asks for it
	IP          string // empty: every address
	First, Last int    // 0: any that is free
	Protocol    string // tcp, udp, sctp
}

// HostPorts returns the host ports that the model asks for, without those whose number the engine
// chooses.
func (m *Model) HostPorts() []HostPort {
	var all []HostPort
	for _, name := range m.Services() {
		for _, p := range list(m.services()[name]["ports"]) {
			published, _ := p["published"].(string)
			asked, ok := ports.Parse(published)
			if !ok || asked.First == 0 {
				continue
			}
			ip, _ := p["host_ip"].(string)
			protocol, _ := p["protocol"].(string)
			all = append(all, HostPort{Service: name, IP: ip, First: asked.First, Last: asked.Last, Protocol: protocol})
		}
	}
	return all
}

// ContainerPorts returns the containers' own TCP ports that the model publishes. known is false
// where containers may be reached in another way: none is published at all, or one is on the
// network of the host or of another container.
func (m *Model) ContainerPorts() (ports []int, known bool) {
	for _, service := range m.services() {
		if mode, _ := service["network_mode"].(string); mode == "host" || strings.HasPrefix(mode, "container:") {
			return nil, false
		}
		for _, p := range list(service["ports"]) {
			target, err := strconv.Atoi(fmt.Sprint(p["target"]))
			if protocol, _ := p["protocol"].(string); err == nil && (protocol == "" || protocol == "tcp") {
				ports = append(ports, target)
			}
		}
	}
	return ports, len(ports) > 0
}

// OnHostNetwork reports whether a compose service has the host's own network.
func (m *Model) OnHostNetwork() bool {
	for _, service := range m.services() {
		if service["network_mode"] == "host" {
			return true
		}
	}
	return false
}

// Wanted returns how many containers each compose service should have.
func (m *Model) Wanted() map[string]int {
	wanted := map[string]int{}
	for _, name := range m.Services() {
		wanted[name] = m.Replicas(name)
	}
	return wanted
}

// The time that compose gives a container to stop, and a bound for all of them together.
const (
	defaultGrace = 10 * time.Second
	maxGrace     = 5 * time.Minute
)

// StopGrace returns how long all containers may take to stop, one after the other; at most a few
// minutes.
func (m *Model) StopGrace() time.Duration {
	var sum time.Duration
	for name, service := range m.services() {
		grace := defaultGrace
		if text, ok := service["stop_grace_period"].(string); ok {
			if d, err := time.ParseDuration(text); err == nil {
				grace = d
			}
		}
		for range min(m.Replicas(name), int(maxGrace/time.Second)) {
			if sum += min(grace, maxGrace); sum >= maxGrace {
				return maxGrace
			}
		}
	}
	return sum
}

// Masked returns the model with secrets hidden, for people: the values for which secret returns
// true, and those under keys whose name suggests a secret.
func (m *Model) Masked(secret func(string) bool) *Model {
	return &Model{root: mask(m.root, secret).(map[string]any)}
}

// hidden is shown in place of a secret.
const hidden = "***"

func mask(v any, secret func(string) bool) any {
	switch v := v.(type) {
	case map[string]any:
		masked := make(map[string]any, len(v))
		for key, e := range v {
			if _, isText := e.(string); isText && (secretword.In(key) || key == valueKey) {
				e = hidden
			}
			masked[key] = mask(e, secret)
		}
		return masked
	case []any:
		masked := make([]any, len(v))
		for i, e := range v {
			masked[i] = mask(e, secret)
		}
		return masked
	case string:
		if secret(v) {
			return hidden
		}
	}
	return v
}

// Text returns the model for people to read: JSON, with keys in order.
func (m *Model) Text() []byte { return render(m.root) }
