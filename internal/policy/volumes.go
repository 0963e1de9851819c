package policy

import (
	"slices"
	"strings"
)

// mountEntry is one entry of a service's volumes.
var mountEntry = on("bind: nested-bind volumes.type:", "types bind (of what is in the repository), volume and tmpfs", func(c *checker, at place, m map[string]any) {
	from := str(m["source"])
	switch kind := str(m["type"]); kind {
	case "bind":
		c.sources = append(c.sources, source{
			at: at.key("source"), path: from, mounted: true,
			writable: m["read_only"] != true, labelled: set(object(m["bind"])["selinux"]),
		})
	case "volume":
		if _, known := object(c.model["volumes"])[from]; from != "" && !known {
			c.refuse(at.key("source"), from, "not a volume of the same file", "")
		}
	case "tmpfs":
	default:
		c.refuse(at.key("type"), kind, "only bind, volume and tmpfs", "volumes.type:"+kind)
	}
})

// named is a top-level volume, config or secret, whose name other projects see.
func named(lift string) rule {
	const allowed = "a name that begins with the service's and _"
	return rule{allowed: allowed, lift: lift, check: func(c *checker, at place, v any) {
		name := str(v)
		switch {
		case c.own(name):
		case !plainName.MatchString(name):
			c.refuse(at, v, "not a valid name", "")
		default:
			c.refuse(at, v, "only "+c.Service+"_*", lift+name)
		}
	}}
}

// file is a path that compose or the engine reads on the host.
var file = rule{allowed: "a file in the repository", lift: "bind: nested-bind", check: func(c *checker, at place, v any) {
	if path := str(v); path != "" {
		c.mount(at, path, false)
	}
}}

// harmlessMount are options of a mount that name no path and no device.
var harmlessMount = []string{"bind", "nodev", "noexec", "nosuid", "rbind", "ro", "rw"}

// localOptions are the options of the local driver.
var localOptions = []string{"device", "o", "size", "type"}

// driverOptions is what the driver of a volume gets. The local driver mounts whatever its options
// say when a container starts.
var driverOptions = func() rule {
	r := joined("a bind of what is in the repository, or a tmpfs within its bounds", func(c *checker, at place, options map[string]any) {
		o := strings.Split(str(options["o"]), ",")
		kind, device := str(options["type"]), str(options["device"])
		local := true
		for key := range options {
			local = local && slices.Contains(localOptions, key)
		}
		switch {
		case local && kind == "" && device == "":
		case local && isBind(kind, o):
			c.mount(at.key("device"), device, !slices.Contains(o, "ro") || slices.Contains(o, "rw"))
		case local && kind == "tmpfs" && c.tmpfsVolume(at.key("o"), o):
		default:
			text := spell(options)
			c.refuse(at, text, "only a bind of what is in the repository, or a tmpfs", "volume.driver_opts:"+text)
		}
	}, tmpfsSize, tmpfsPercent, tmpfsInodes)
	r.lift = "bind: nested-bind volume.driver_opts: " + r.lift
	return r
}()

func isBind(kind string, o []string) bool {
	return slices.Contains([]string{"", "none", "bind"}, kind) &&
		(slices.Contains(o, "bind") || slices.Contains(o, "rbind")) &&
		!slices.ContainsFunc(o, func(option string) bool { return !slices.Contains(harmlessMount, option) })
}

// tmpfsVolume bounds the options of a tmpfs. It reports false if one is not known: then the
// volume is refused as a whole.
func (c *checker) tmpfsVolume(at place, o []string) bool {
	if slices.ContainsFunc(o, func(option string) bool {
		name, _, _ := strings.Cut(option, "=")
		return !slices.Contains(tmpfsOptions, name)
	}) {
		return false
	}
	for _, option := range o {
		c.tmpfsOption(at, option)
	}
	return true
}

// spell writes options in a fixed order, so that an entry of allow means exactly these.
func spell(options map[string]any) string {
	var pairs []string
	for key, v := range options {
		text, _ := scalarText(v)
		pairs = append(pairs, quoteMember(key, text))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}
