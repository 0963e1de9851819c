package policy

import (
	"maps"
	"slices"
	"strings"

	"pgo/internal/lazyregexp"
)

// engineNetworks are the names that the engine does not take for a network that somebody made.
var engineNetworks = []string{"bridge", "default", "host", "none"}

// plainName is a name that the engine takes for nothing but a name: it reads
// "container:web" as the network of that container, and "/etc" as a directory.
var plainName = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// perhapsID matches what the engine could take for the beginning of an ID.
var perhapsID = lazyregexp.New(`^[0-9a-f]+$`)

// network is a top-level network. One without the service's prefix belongs to somebody else, even
// if it is not called external: compose attaches to whatever has that name.
var network = on("network:", "a network of the service's own, or one of its `networks`", func(c *checker, at place, network map[string]any) {
	name := str(network["name"])
	at = at.key("name")
	switch {
	case !plainName.MatchString(name):
		c.refuse(at, name, "not a valid network name", "")
	case slices.Contains(engineNetworks, name):
		c.refuse(at, name, "it is the engine's own", "")
	case c.own(name), slices.Contains(c.Networks, name):
	case len(c.Networks) > 0:
		c.refuse(at, name, "only "+c.Service+"_* and "+strings.Join(c.Networks, ", "), "network:"+name)
	case perhapsID.MatchString(name):
		c.refuse(at, name, "it could be the beginning of another network's ID", "network:"+name)
	case c.neighbour(name) != "":
		c.refuse(at, name, "it is a network of the service "+c.neighbour(name), "network:"+name)
	}
})

// neighbour returns the other service whose project makes networks with such a name. A container
// on one of them answers to the names of that service there.
func (c *checker) neighbour(network string) string {
	project, _, found := strings.Cut(fold(network), "_")
	for _, other := range c.Others {
		if found && project == fold(other) {
			return other
		}
	}
	return ""
}

// fold returns a name as the engine's name service compares it. Other ways to fold differ from
// this one in letters that are not ASCII.
func fold(name string) string { return strings.ToLower(name) }

// own reports whether this service's project makes networks or volumes with such a name. No
// service's name has an underscore.
func (c *checker) own(name string) bool {
	return strings.HasPrefix(name, c.Service+"_") && plainName.MatchString(name)
}

// endpoint is one service's place on one network of others.
type endpoint struct {
	at       place
	network  string
	settings map[string]any
}

// endpoints returns the networks of others that a service is on. A network_mode
// that is a network's name, which the operator may allow, counts.
func (c *checker) endpoints(at place, service map[string]any) []endpoint {
	var all []endpoint
	networks := object(c.model["networks"])
	for key, settings := range object(service["networks"]) {
		if name := str(object(networks[key])["name"]); !c.own(name) {
			all = append(all, endpoint{at.key("networks").key(key), name, object(settings)})
		}
	}
	mode := str(service["network_mode"])
	if mode != "" && !ownNetworkMode(mode) && !isContainer(mode) && !slices.Contains(engineNetworks, mode) {
		all = append(all, endpoint{at.key("network_mode"), mode, nil})
	}
	return all
}

var ownNetworkMode = ownOr("none")

// service is what a compose service may be called, and where it may be found.
var service = on("name: container_name: image: ipv4_address: ipv6_address: link_local_ips: mac_address:",
	"names of letters, digits and `_.-`; on a network of others, no fixed address, and no name that has a dot or that another service's `urls` use; no container named like another service's; built images named after the service", func(c *checker, at place, service map[string]any) {
		c.hostNames(at, service)
		c.containerName(at, service)
		c.images(at, service)
		endpoints := c.endpoints(at, service)
		for _, e := range endpoints {
			c.name(at, at.name, e.network)
			c.name(at.key("container_name"), str(service["container_name"]), e.network)
			c.name(at.key("hostname"), str(service["hostname"]), e.network)
			for i, alias := range list(e.settings["aliases"]) {
				c.name(e.at.key("aliases").item(i), str(alias), e.network)
			}
			for _, key := range []string{"ipv4_address", "ipv6_address", "mac_address"} {
				c.address(e.at.key(key), e.settings[key])
			}
			for i, ip := range list(e.settings["link_local_ips"]) {
				c.address(e.at.key("link_local_ips").item(i), ip)
			}
		}
		if len(endpoints) > 0 {
			c.generatedName(at, service, endpoints)
			c.address(at.key("mac_address"), service["mac_address"])
		}
	})

// hostName matches names that all name services read alike.
var hostName = lazyregexp.New(`^[A-Za-z0-9_.-]+$`)

// hostNames checks all names that a service gives to a container, also on its own networks:
// others may join them.
func (c *checker) hostNames(at place, service map[string]any) {
	c.hostName(at, at.name)
	for _, key := range []string{"container_name", "hostname", "domainname"} {
		if name := str(service[key]); name != "" {
			c.hostName(at.key(key), name)
		}
	}
	for key, settings := range object(service["networks"]) {
		for i, alias := range list(object(settings)["aliases"]) {
			c.hostName(at.key("networks").key(key).key("aliases").item(i), str(alias))
		}
	}
	for i, link := range list(service["links"]) {
		for name := range strings.SplitSeq(str(link), ":") {
			c.hostName(at.key("links").item(i), name)
		}
	}
}

func (c *checker) hostName(at place, name string) {
	if !hostName.MatchString(name) {
		c.refuse(at, name, "only letters, digits and _.- in a name", "")
	}
}

// name checks a name that the engine's name service would answer for on a network of others: the
// name alone, and followed by the network's. It asks no other name service first, so a name with
// a dot could be any domain.
func (c *checker) name(at place, name, network string) {
	for _, host := range slices.Sorted(maps.Keys(c.Reserved)) {
		other := c.Reserved[host]
		if name != "" && (fold(name) == fold(host) || fold(name+"."+network) == fold(host)) {
			c.refuse(at, name, "on the network "+network+" it would get the traffic for the urls of "+other, "name:"+name)
			return
		}
	}
	if strings.Contains(name, ".") {
		c.refuse(at, name, "on the network "+network+" it could take any domain's place", "name:"+name)
	}
}

func (c *checker) address(at place, v any) {
	if text, _ := scalarText(v); text != "" {
		c.refuse(at, text, "no fixed address on a network of others", at.name+":"+text)
	}
}

// containerName checks names that all projects on the host share: if one is a name of another
// service's containers, those could not be created.
func (c *checker) containerName(at place, service map[string]any) {
	key, name := at.key("container_name"), str(service["container_name"])
	if name == "" {
		key, name = at, c.Service+"-"+at.name+"-1"
	}
	other := c.owner(name, "-")
	if other != "" && other != c.Service && generated.MatchString(strings.TrimPrefix(fold(name), fold(other))) {
		c.refuse(key, name, "containers of the service "+other+" have such names", "container_name:"+name)
	}
}

// generated is what compose appends to the name of a project.
var generated = lazyregexp.New(`^-.+-[0-9]+$`)

// generatedName checks the names that compose generates, such as pgo-web-1, which are names on a
// network too.
func (c *checker) generatedName(at place, service map[string]any, endpoints []endpoint) {
	if str(service["container_name"]) != "" {
		return
	}
	prefix := fold(c.Service + "-" + at.name + "-")
	for host, other := range c.Reserved {
		rest, found := strings.CutPrefix(fold(host), prefix)
		if found && slices.ContainsFunc(endpoints, func(e endpoint) bool { return isNumber(strings.TrimSuffix(rest, "."+fold(e.network))) }) {
			c.refuse(at, host, "it would get the traffic for the urls of "+other, "name:"+host)
		}
	}
}

var isNumber = lazyregexp.New(`^[0-9]+$`).MatchString

// owner returns the service that a name with the given ending after the
// service's name belongs to: the one with the longest name that fits.
func (c *checker) owner(name, separator string) string {
	owner := ""
	for _, service := range append(slices.Clone(c.Others), c.Service) {
		if strings.HasPrefix(fold(name), fold(service+separator)) && len(service) > len(owner) {
			owner = service
		}
	}
	return owner
}

// pool is a range of addresses that a network asks for: the host would send there what is meant
// for others.
var pool = on("network.ipam:", "addresses of the engine's choice", func(c *checker, at place, pool map[string]any) {
	subnet := str(pool["subnet"])
	c.refuse(at, subnet, "addresses are the engine's to choose", "network.ipam:"+subnet)
})
