package policy

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// networkMode: where the compose service names none, it is one of its networks.
func (w *witness) networkMode(at string, v any) {
	got, want := str(v), str(w.service["network_mode"])
	switch names := w.networkNames(); {
	case want == "" && slices.Contains(names, got), want == "" && len(names) == 0 && got == "none":
	case want != "" && (got == want || w.isOther(want, got)):
	default:
		w.refuseSaid(at, v)
	}
}

// networkNames are the names that the compose service's networks have in the engine.
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

// networks judges where the container will be found, and by which names.
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
		if !joined && network != mode && (network != "none" || mode != "" || len(asked) > 0) {
			w.refuse(w.at.said("network "+network), network, notAsked, "")
			continue
		}
		w.endpoint("network "+network+": ", name, settings, object(endpoint))
	}
	if hostname := str(w.config["Hostname"]); len(asked) > 0 && !w.called(name, nil, hostname) {
		w.refuseSaid("Config.Hostname", hostname)
	}
	if mac := str(w.config["MacAddress"]); mac != "" && !w.macAsked(mac) {
		w.refuseSaid("Config.MacAddress", mac)
	}
}

// numbered is what compose puts behind the names of a project and a service.
var numbered = regexp.MustCompile(`^-[0-9]+$`)

func (w *witness) isName(name string) bool {
	if want := str(w.service["container_name"]); want != "" {
		return name == want
	}
	number, found := strings.CutPrefix(name, w.Service+"-"+w.name)
	return found && numbered.MatchString(number)
}

// endpoint judges the container's place on one network.
func (w *witness) endpoint(at, name string, settings, got map[string]any) {
	for _, key := range []string{"Aliases", "DNSNames"} {
		for _, v := range list(got[key]) {
			if !w.called(name, settings, str(v)) {
				w.refuseSaid(at+key, v)
			}
		}
	}
	ipam := object(got["IPAMConfig"])
	for said, key := range map[string]string{"IPv4Address": "ipv4_address", "IPv6Address": "ipv6_address"} {
		if ip := str(ipam[said]); ip != "" && ip != settings[key] {
			w.refuseSaid(at+said, ip)
		}
	}
	w.listed(at+"LinkLocalIPs", list(ipam["LinkLocalIPs"]), texts(list(settings["link_local_ips"]), nil), nil)
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

// called tells whether the container is to answer to a name: its own, those of its
// compose service, and the beginning of its ID, which every container has.
func (w *witness) called(name string, settings map[string]any, as string) bool {
	own := []string{name, w.name, str(w.service["hostname"]), w.id[:min(12, len(w.id))]}
	return slices.Contains(own, as) || slices.Contains(list(settings["aliases"]), any(as))
}

func (w *witness) macAsked(mac string) bool {
	if w.service["mac_address"] == mac {
		return true
	}
	for _, settings := range object(w.service["networks"]) {
		if object(settings)["mac_address"] == mac {
			return true
		}
	}
	return false
}

// madeNetwork judges a network that the project made, if the model still has it.
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
		if text, asked := scalarText(options[option]); !asked || text != got {
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
