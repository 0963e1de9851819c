package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgo/internal/lazyregexp"
	"pgo/internal/ports"
)

// bound limits a number. The operator moves it with an entry of allow that names the number
// wanted.
type bound struct {
	entry string // what the entry begins with, before the colon
	*measure
	least int64 // 0 passes as well: the engine's default
	most  int64
	free  string // a text that always passes: the engine's default; empty: none
	of    string // what it counts, if not the value of a key
}

func (b bound) String() string {
	text := "at most " + b.format(b.most)
	if b.least > 0 {
		text = "at least " + b.format(b.least) + ", " + text
	}
	return text
}

// lift is what rule.lift has for a bound.
func (b bound) lift() string { return b.entry + ":" }

// bounded is a rule for one number.
func bounded(b bound) rule {
	return notRoot(rule{allowed: b.String(), lift: b.lift(), bounds: []bound{b}, check: func(c *checker, at place, v any) {
		if text, scalar := scalarText(v); scalar {
			c.within(at, text, b)
		}
	}})
}

// within refuses a number that is beyond its bound, and a text that is not a number.
func (c *checker) within(at place, text string, b bound) {
	n, ok := b.parse(text)
	switch {
	case b.free != "" && text == b.free:
	case !ok:
		c.refuse(at, text, "only "+b.kind, "")
	default:
		c.count(at, text, n, b)
	}
}

// count refuses a number that is beyond its bound and beyond all that the operator grants.
func (c *checker) count(at place, found any, n int64, b bound) {
	low := n < b.least && n != 0
	if !low && n <= b.most {
		return
	}
	for _, entry := range c.Allow {
		if granted, ok := b.granted(entry); ok && (low && granted <= n || !low && granted >= n) {
			return
		}
	}
	c.refuse(at, found, b.String(), b.entry+":"+b.format(n))
}

// granted returns the number that an entry of allow grants for a bound.
func (b bound) granted(entry string) (int64, bool) {
	text, found := strings.CutPrefix(entry, b.entry+":")
	if !found {
		return 0, false
	}
	return b.parse(text)
}

// freeUlimits are limits of the kernel for a process that cost the host nothing, whatever their
// value: bounding memory and processors is left to others.
var freeUlimits = []string{"as", "core", "cpu", "data", "fsize", "locks", "memlock", "rss", "rttime", "stack"}

// boundUlimits are those that count something of which the host has a fixed number, or that rank
// the service's processes above others.
var boundUlimits = map[string]int64{
	"nofile": 1 << 20, "nproc": 1 << 20, "sigpending": 1 << 20,
	"msgqueue": 819200, "nice": 0, "rtprio": 0,
}

var (
	containersBound = bound{entry: "containers", measure: counts, most: 100, of: "containers of all compose services (`scale`, `deploy.replicas`)"}
	servicesBound   = bound{entry: "services.count", measure: counts, most: 500, of: "compose services, including those without containers"}
	portsBound      = bound{entry: "ports.count", measure: counts, most: 500, of: "published ports of all compose services, with each port of a range"}
	exposeBound     = bound{entry: "expose.count", measure: counts, most: 500, of: "exposed ports of all compose services, with each port of a range"}
	mountsBound     = bound{entry: "mounts.count", measure: counts, most: 5000, of: "mounts of all containers: `volumes`, `tmpfs`, `configs`, `secrets`, `devices`"}
	weightBound     = bound{entry: "containers.size", measure: sizes, most: 32 << 20, of: "bytes that the engine keeps for all containers: their entries in the compose file, once for each container"}
	networksBound   = bound{entry: "networks.count", measure: counts, most: 10, of: "networks that the service makes"}
	volumesBound    = bound{entry: "volumes.count", measure: counts, most: 100, of: "volumes that the service makes; those without a name count for each container"}

	intervalBound      = bound{entry: "healthcheck.interval", measure: durations, least: minutes(1) / 120, most: minutes(24 * 60)}
	startIntervalBound = bound{entry: "healthcheck.start_interval", measure: durations, least: minutes(1) / 120, most: minutes(24 * 60)}

	tmpfsSize    = bound{entry: "tmpfs.size", measure: fileSizes, most: 4 << 30}
	tmpfsPercent = bound{entry: "tmpfs.size", measure: percents, most: 50}
	tmpfsInodes  = bound{entry: "tmpfs.nr_inodes", measure: inodes, most: 1 << 20}
	tmpfsMount   = bound{entry: "tmpfs.size", measure: sizes, most: 4 << 30}
)

// total adds numbers that are not negative.
func total(a, b int64) int64 {
	if a > unlimited-b {
		return unlimited
	}
	return a + b
}

func times(a, b int64) int64 {
	if a > 0 && b > unlimited/a {
		return unlimited
	}
	return a * b
}

// totals bounds what all compose services have together.
var totals = notRoot(joined("as much of each as [Bounds](#bounds) allows", func(c *checker, at place, services map[string]any) {
	var containers, published, exposed, mounts, bytes int64
	for _, v := range services {
		service := object(v)
		n := replicasOf(service)
		containers = total(containers, n)
		for _, key := range []string{"volumes", "tmpfs", "configs", "secrets", "devices"} {
			mounts = total(mounts, times(int64(len(list(service[key]))), n))
		}
		bytes = total(bytes, times(weight(service)+c.configsOf(service), max(n, 1)))
		for _, entry := range list(service["ports"]) {
			published = total(published, portsOf(object(entry), n))
		}
		for _, entry := range list(service["expose"]) {
			text, _ := scalarText(entry)
			exposed = total(exposed, exposedBy(text))
		}
	}
	c.count(at, fmt.Sprintf("a total of %d compose services", len(services)), int64(len(services)), servicesBound)
	c.count(at, fmt.Sprintf("a total of %d containers", containers), containers, containersBound)
	c.count(at, fmt.Sprintf("a total of %d published ports", published), published, portsBound)
	c.count(at, fmt.Sprintf("a total of %d exposed ports", exposed), exposed, exposeBound)
	c.count(at, fmt.Sprintf("a total of %d mounts", mounts), mounts, mountsBound)
	c.count(at, fmt.Sprintf("a total of %d bytes for all containers", bytes), bytes, weightBound)
}, servicesBound, containersBound, portsBound, exposeBound, mountsBound, weightBound))

// weight estimates the memory that a value takes in the engine or compose: a list of many short
// items takes more than its text.
func weight(v any) int64 {
	const item = 32
	switch v := v.(type) {
	case map[string]any:
		n := int64(item)
		for key, e := range v {
			n += int64(len(key)) + weight(e)
		}
		return n
	case []any:
		n := int64(item)
		for _, e := range v {
			n += weight(e)
		}
		return n
	}
	text, _ := scalarText(v)
	return item + int64(len(text))
}

// configsOf is the weight of what compose writes into each container of a service.
func (c *checker) configsOf(service map[string]any) int64 {
	n := int64(0)
	for _, ref := range list(service["configs"]) {
		n = total(n, weight(object(c.model["configs"])[str(object(ref)["source"])]))
	}
	return n
}

// joined is a rule with bounds for an object as a whole.
func joined(allowed string, check func(c *checker, at place, o map[string]any), bounds ...bound) rule {
	var lifts []string
	for _, b := range bounds {
		lifts = append(lifts, b.lift())
	}
	r := on(strings.Join(slices.Compact(lifts), " "), allowed, check)
	r.bounds = bounds
	return r
}

// replicas is the number of containers of a compose service. Compose, the engine and pgo must
// read the same number.
var replicas = rule{allowed: "a whole number", check: func(c *checker, at place, v any) {
	text, _ := scalarText(v)
	if _, isText := v.(string); isText || !plainInt.MatchString(text) {
		c.refuse(at, v, "only a whole number", "")
	}
}}

var plainInt = lazyregexp.New(`^(0|[1-9][0-9]{0,8})$`)

// replicasOf returns how many containers a service may have: the larger number if it is set
// twice.
func replicasOf(service map[string]any) int64 {
	n := int64(-1)
	for _, v := range []any{service["scale"], object(service["deploy"])["replicas"]} {
		text, _ := scalarText(v)
		if said, ok := parseCount(text); ok {
			n = max(n, said)
		}
	}
	if n < 0 {
		return 1
	}
	return n
}

// portsOf counts the host ports of one entry: one for each container if the engine chooses them.
func portsOf(entry map[string]any, containers int64) int64 {
	text, _ := scalarText(entry["published"])
	if asked, ok := ports.Parse(text); ok && asked.First > 0 {
		return int64(asked.Last - asked.First + 1)
	}
	return containers
}

func exposedBy(text string) int64 {
	port, _, _ := strings.Cut(text, "/")
	if asked, ok := ports.Parse(port); ok {
		return int64(asked.Last - asked.First + 1)
	}
	return 1 // refused for its form
}

var exposed = notRoot(rule{allowed: "a port or a range of ports, optionally followed by /tcp, /udp or /sctp", check: func(c *checker, at place, v any) {
	text, scalar := scalarText(v)
	port, protocol, found := strings.Cut(text, "/")
	if _, ok := ports.Parse(port); scalar && (!ok || found && !oneOf("tcp", "udp", "sctp")(protocol)) {
		c.refuse(at, v, "only a port, or a range such as 9000-9002", "")
	}
}})

// ownNetworks bounds the networks that a service makes: the engine has addresses for about thirty
// on the whole host.
var ownNetworks = notRoot(joined("at most "+networksBound.format(networksBound.most)+" that the service makes", func(c *checker, at place, networks map[string]any) {
	n := int64(len(networks) - external(networks))
	c.count(at, fmt.Sprintf("a total of %d networks", n), n, networksBound)
}, networksBound))

var ownVolumes = notRoot(joined("at most "+volumesBound.format(volumesBound.most)+" that the service makes", func(c *checker, at place, volumes map[string]any) {
	n := int64(len(volumes) - external(volumes))
	for _, v := range object(c.model["services"]) {
		service := object(v)
		for _, entry := range list(service["volumes"]) {
			if m := object(entry); str(m["type"]) == "volume" && str(m["source"]) == "" {
				n = total(n, replicasOf(service))
			}
		}
	}
	c.count(at, fmt.Sprintf("a total of %d volumes", n), n, volumesBound)
}, volumesBound))

func external(entries map[string]any) int {
	n := 0
	for _, v := range entries {
		if object(v)["external"] == true {
			n++
		}
	}
	return n
}

// ulimits bounds the limits of a container's processes.
func ulimits(prefix string) rule {
	bounds := map[string]bound{}
	var all []bound
	for _, name := range slices.Sorted(maps.Keys(boundUlimits)) {
		bounds[name] = bound{entry: prefix + "ulimits." + name, measure: limits, most: boundUlimits[name], of: "`" + prefix + "ulimits." + name + "`"}
		all = append(all, bounds[name])
	}
	names := strings.Join(append(slices.Sorted(maps.Keys(boundUlimits)), freeUlimits...), ", ")
	return notRoot(joined("any of "+strings.Join(freeUlimits, ", ")+"; the others within their [bounds](#bounds)", func(c *checker, at place, ulimits map[string]any) {
		for name, v := range ulimits {
			b, known := bounds[name]
			if !known && !oneOf(freeUlimits...)(name) {
				c.refuse(at.key(name), v, "only "+names, "")
				continue
			}
			if !known {
				b = bound{measure: limits, most: unlimited}
			}
			c.ulimit(at.key(name), v, b)
		}
	}, all...))
}

// ulimit checks a limit: a number, or an object of numbers.
func (c *checker) ulimit(at place, v any, b bound) {
	if text, scalar := scalarText(v); scalar {
		c.within(at, text, b)
	}
	for key, value := range object(v) {
		if text, scalar := scalarText(value); scalar {
			c.within(at.key(key), text, b)
		}
	}
}

// tmpfsFlags are options of a tmpfs that take no space.
var tmpfsFlags = []string{
	"", "async", "atime", "dev", "diratime", "exec", "gid", "mode", "noatime", "nodev", "nodiratime", "noexec",
	"nosuid", "relatime", "ro", "rw", "strictatime", "suid", "sync", "uid",
}

// tmpfsOptions are all that a tmpfs may have.
var tmpfsOptions = append([]string{"nr_blocks", "nr_inodes", "size"}, tmpfsFlags...)

// pageSize is the unit of nr_blocks.
const pageSize = 4096

// tmpfsOption bounds one option of a tmpfs, and reports whether the option is known.
func (c *checker) tmpfsOption(at place, option string) bool {
	name, value, _ := strings.Cut(option, "=")
	switch name {
	case "size":
		if strings.HasSuffix(value, "%") {
			c.within(at, value, tmpfsPercent)
		} else {
			c.within(at, value, tmpfsSize)
		}
	case "nr_inodes":
		c.within(at, value, tmpfsInodes)
	case "nr_blocks":
		n, ok := inodes.parse(value)
		if !ok {
			c.refuse(at, value, "only "+inodes.kind, "")
			break
		}
		if n < unlimited/pageSize {
			n *= pageSize
		} else {
			n = unlimited
		}
		c.count(at, option, n, tmpfsSize)
	default:
		return oneOf(tmpfsFlags...)(name)
	}
	return true
}

// tmpfs is an entry of a service's tmpfs: a path, and options after a colon.
var tmpfs = notRoot(rule{
	allowed: "options that bound it: size " + tmpfsSize.String() + " or " + tmpfsPercent.String() + ", nr_inodes " + tmpfsInodes.String(),
	lift:    "tmpfs.size: tmpfs.nr_inodes: tmpfs:",
	bounds:  []bound{tmpfsSize, tmpfsPercent, tmpfsInodes},
	check: func(c *checker, at place, v any) {
		text := str(v)
		_, options, _ := strings.Cut(text, ":")
		for option := range strings.SplitSeq(options, ",") {
			if !c.tmpfsOption(at, option) {
				c.refuse(at, v, "an option of a tmpfs that is not known to be harmless: "+option, "tmpfs:"+text)
			}
		}
	},
})

func minutes(n int64) int64 { return n * int64(time.Minute) }
