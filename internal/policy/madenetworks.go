package policy

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"

	"pgo/internal/lazyregexp"
)

// networkMode checks the network mode: if the service names none, it is one of its networks.
func (w *witness) networkMode(at string, v any) {
	got, want := str(v), str(w.service["network_mode"])
	switch names := w.networkNames(); {
	case want == "" && slices.Contains(names, got), want == "" && len(names) == 0 && got == "none":
	case want != "" && (sameMode(got, want) || w.isOther(want, got)):
	default:
		w.refuseSaid(at, v)
	}
}

// sameMode reports whether two network modes are the same: the engine has two names for its
// default network.
func sameMode(a, b string) bool {
	return a == b || slices.Contains(engineDefault, a) && slices.Contains(engineDefault, b)
}

var engineDefault = []string{"bridge", "default"}

// networkNames returns the names that the compose service's networks have in the engine.
func (w *witness) networkNames() []string {
	var names []string
	for key := range object(w.service["networks"]) {
		names = append(names, w.networkName(key))
	}
	return names
}

func (w *witness) networkName(key string) string {
	return str(object(object(w.model["networks"])[key])["name"])
}

// networks checks which networks the container is on, and under which names.
func (w *witness) networks(name string, got map[string]any) {
	if !w.isName(name) {
		w.refuse(w.at.said("Name"), name, "containers of "+w.name+" have other names", "")
	}
	asked := map[string]map[string]any{}
	for key, settings := range object(w.service["networks"]) {
		asked[w.networkName(key)] = object(settings)
	}
	mode := str(w.service["network_mode"])
	for network, endpoint := range got {
		settings, joined := asked[network]
		if !joined && !sameMode(network, mode) && (network != "none" || mode != "" || len(asked) > 0) {
			w.refuse(w.at.said("network "+network), network, notAsked, "")
			continue
		}
		w.endpoint("network "+network+": ", name, settings, object(endpoint))
	}
	if hostname := str(w.config["Hostname"]); len(asked) > 0 && !slices.Contains(w.ownNames(name), hostname) {
		w.refuseSaid("Config.Hostname", hostname)
	}
	if mac := str(w.config["MacAddress"]); mac != "" && !w.macAsked(mac) {
		w.refuseSaid("Config.MacAddress", mac)
	}
}

// numbered is what compose appends to the names of a project and a service.
var numbered = lazyregexp.New(`^-[0-9]+$`)

// renamed is the prefix of a container's name until the container that it replaces is gone. It
// stays if compose is killed before.
var renamed = lazyregexp.New(`^[0-9a-f]{12}_`)

func (w *witness) isName(name string) bool {
	name = renamed.ReplaceAllString(name, "")
	if want := str(w.service["container_name"]); want != "" {
		return name == want
	}
	number, found := strings.CutPrefix(name, w.Service+"-"+w.name)
	return found && numbered.MatchString(number)
}

// endpoint checks the container's settings on one network.
func (w *witness) endpoint(at, name string, settings, got map[string]any) {
	names := append(texts(list(settings["aliases"]), nil), w.ownNames(name)...)
	for _, key := range []string{"Aliases", "DNSNames"} {
		w.listed(at+key, list(got[key]), names, nil)
	}
	ipam := object(got["IPAMConfig"])
	for said, key := range map[string]string{"IPv4Address": "ipv4_address", "IPv6Address": "ipv6_address"} {
		if ip := str(ipam[said]); !sameAddress(ip, str(settings[key])) && ip != "" {
			w.refuseSaid(at+said, ip)
		}
	}
	w.listed(at+"LinkLocalIPs", list(ipam["LinkLocalIPs"]), texts(list(settings["link_local_ips"]), address), address)
	options := object(settings["driver_opts"])
	for option, value := range object(got["DriverOpts"]) {
		interfaceName := option == "com.docker.network.endpoint.ifname" && value == settings["interface_name"]
		if text, _ := scalarText(options[option]); text != value && !interfaceName {
			w.refuseSaid(at+"DriverOpts."+option, value)
		}
	}
	if mac := str(got["MacAddress"]); mac != "" && !w.macAsked(mac) {
		w.refuseSaid(at+"MacAddress", mac)
	}
}

// ownNames returns the names that a container has on each of its networks: its own, its compose
// service's, its hostname, and the beginning of its ID, which every container has.
func (w *witness) ownNames(name string) []string {
	return []string{name, renamed.ReplaceAllString(name, ""), w.name, str(w.service["hostname"]), w.id[:min(12, len(w.id))]}
}

func (w *witness) macAsked(mac string) bool {
	if sameAddress(str(w.service["mac_address"]), mac) {
		return true
	}
	for _, settings := range object(w.service["networks"]) {
		if sameAddress(str(object(settings)["mac_address"]), mac) {
			return true
		}
	}
	return false
}

// sameAddress compares IP and MAC addresses, which an engine may spell in its own way.
func sameAddress(a, b string) bool { return address(a) == address(b) }

func address(text string) string {
	if ip, err := netip.ParseAddr(text); err == nil {
		return ip.String()
	}
	if mac, err := net.ParseMAC(text); err == nil {
		return mac.String()
	}
	return text
}

// engineOptions are options of a network that an engine sets by itself, or as its administrator
// has chosen for all networks. They open nothing on the host. (An operator has to allow a network
// that is named like another bridge, or reached from outside.)
var engineOptions = []string{
	"com.docker.network.bridge.enable_icc", "com.docker.network.bridge.enable_ip_masquerade", "com.docker.network.driver.mtu",
	"com.docker.network.driver.overlay.vxlanid_list", "com.docker.network.enable_ipv4", "com.docker.network.enable_ipv6",
}

// madeNetwork checks a network that the project made, if the model still has it.
func (c *checker) madeNetwork(words map[string]any) {
	name := str(words["Name"])
	var want map[string]any
	for _, network := range object(c.model["networks"]) {
		if object(network)["name"] == name {
			want = object(network)
		}
	}
	if want == nil {
		return
	}
	at := place{path: "network " + name + ":"}
	refuse := func(key string, found any, entry string) { c.refuse(at.said(key), found, notAsked, entry) }
	if driver := cmp.Or(str(want["driver"]), "bridge"); words["Driver"] != driver {
		refuse("Driver", words["Driver"], "")
	}
	for key, asked := range map[string]any{"Attachable": want["attachable"], "Ingress": false, "ConfigOnly": false} {
		if words[key] == true && asked != true {
			refuse(key, words[key], "")
		}
	}
	if from := str(object(words["ConfigFrom"])["Network"]); from != "" {
		refuse("ConfigFrom", from, "")
	}
	options := object(want["driver_opts"])
	for option, value := range object(words["Options"]) {
		got, _ := scalarText(value)
		text, asked := scalarText(options[option])
		if asked && text != got || !asked && !slices.Contains(engineOptions, option) {
			refuse("Options."+option, value, "network.driver_opts:"+option+"="+got)
		}
	}
	ipam := object(words["IPAM"])
	if driver := str(ipam["Driver"]); driver != "" && driver != cmp.Or(str(object(want["ipam"])["driver"]), "default") {
		refuse("IPAM.Driver", driver, "")
	}
	asked := object(object(want["ipam"])["options"])
	for option, value := range object(ipam["Options"]) {
		if text, _ := scalarText(asked[option]); text != value {
			refuse("IPAM.Options."+option, value, "")
		}
	}
}
