package policy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Made is what an engine made of a model, as docker inspect prints it; numbers are json.Number.
type Made struct {
	Containers []map[string]any  // those that never ran
	Services   map[string]string // the compose services of all of the project's containers, by container ID
	Networks   []map[string]any  // that the project made
	Runtime    string            // the engine's default for containers
	Cgroupns   string            // the default cgroup namespace mode
	LogDriver  string            // the default log driver
}

// CheckMade checks what an engine made of a model against the model, which has passed the policy.
// What the engine has is what will run, so anything that the model does not ask for is refused:
// compose may have read the model in another way or added something of its own, or this package
// did not know what a key leads to. An unknown key of HostConfig is refused as well. The command
// and the environment of a container are not checked. images has the ID of each compose service's
// image.
func CheckMade(l Limits, model map[string]any, made Made, images map[string]string) []Refusal {
	c := &checker{Limits: l, model: model}
	for _, words := range made.Containers {
		c.container(words, made, images)
	}
	for _, words := range made.Networks {
		c.madeNetwork(words)
	}
	if !l.Root {
		c.ofImages(made.Containers)
	}
	return c.sorted()
}

// ofImages applies the bounds of a compose file to the numbers that images bring: volumes without
// a name, exposed ports, times between health checks.
func (c *checker) ofImages(containers []map[string]any) {
	volumes := int64(0)
	for _, words := range containers {
		at, config := containerPlace(words), object(words["Config"])
		for _, m := range list(words["Mounts"]) {
			if Anonymous(str(object(m)["Name"])) {
				volumes++
			}
		}
		ports := int64(len(object(config["ExposedPorts"])))
		c.count(at.said("Config.ExposedPorts"), fmt.Sprintf("a total of %d exposed ports", ports), ports, exposeBound)
		check := object(config["Healthcheck"])
		for key, b := range map[string]bound{"Interval": intervalBound, "StartInterval": startIntervalBound} {
			if text, set := scalarText(check[key]); set {
				n, ok := parseCount(text)
				if !ok {
					n = unlimited // not a number that an engine has
				}
				c.count(at.said("Config.Healthcheck."+key), formatDuration(n), n, b)
			}
		}
	}
	c.count(place{path: "containers"}, fmt.Sprintf("a total of %d volumes without a name", volumes), volumes, volumesBound)
}

// Strange returns the names of the networks that CheckMade refuses.
func (m Made) Strange(l Limits, model map[string]any) (names []string) {
	for _, words := range m.Networks {
		if len(CheckMade(l, model, Made{Networks: []map[string]any{words}}, nil)) > 0 {
			names = append(names, str(words["Name"]))
		}
	}
	return names
}

func containerPlace(words map[string]any) place {
	return place{path: "container " + strings.TrimPrefix(str(words["Name"]), "/") + ":"}
}

// said is the place of a key in what the engine prints.
func (p place) said(key string) place {
	return place{path: p.path + " " + key, name: key}
}

// notAsked is the reason for most of what CheckMade refuses.
const notAsked = "the compose file that was checked does not ask for it"

// witness compares one container with its compose service.
type witness struct {
	*checker
	Made
	at      place
	id      string
	service map[string]any
	name    string         // of the compose service
	host    map[string]any // HostConfig
	config  map[string]any // Config
}

func (c *checker) container(words map[string]any, made Made, images map[string]string) {
	w := &witness{checker: c, Made: made, at: containerPlace(words), id: str(words["Id"]), host: object(words["HostConfig"]), config: object(words["Config"])}
	labels := object(w.config["Labels"])
	w.name = str(labels["com.docker.compose.service"])
	w.service = object(object(c.model["services"])[w.name])
	if w.service == nil || labels["com.docker.compose.project"] != c.Service {
		c.refuse(w.at.said("labels"), w.name, "there is no such compose service in the file that was checked", "")
		return
	}
	for key, v := range w.host {
		w.hostKey(key, v)
	}
	w.labels(labels)
	w.ports()
	w.masked()
	w.mounts(list(words["Mounts"]))
	w.networks(strings.TrimPrefix(str(words["Name"]), "/"), object(object(words["NetworkSettings"])["Networks"]))
	if want := images[w.name]; want != "" && words["Image"] != want {
		w.refuse(w.at.said("Image"), words["Image"], "the image that was checked is "+want, "")
	}
}

// refuseSaid refuses the value that the engine has for a key.
func (w *witness) refuseSaid(key string, found any) {
	w.refuse(w.at.said(key), found, notAsked, "")
}

// hostKey checks one key of HostConfig.
func (w *witness) hostKey(key string, v any) {
	at := "HostConfig." + key
	switch check := hostConfig[key]; {
	case !isSet(v):
	case check == nil:
		w.refuse(w.at.said(at), v, "this version of pgo does not know this key", "key:engine."+at)
	default:
		check(w, at, v)
	}
}

// isSet reports whether the engine has set a value.
func isSet(v any) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, isSet)
	case map[string]any:
		return len(v) > 0
	}
	return v != nil && v != "" && v != false && v != json.Number("0")
}

// said checks one key of HostConfig that is set.
type said func(w *witness, at string, v any)

// hostConfig has every key of HostConfig, from engine 20.10 on.
var hostConfig = map[string]said{
	"AutoRemove": notToBe, "Cgroup": notToBe, "ContainerIDFile": notToBe, "PublishAllPorts": notToBe, "VolumeDriver": notToBe,

	"Privileged":     whether("privileged"),
	"OomKillDisable": whether("oom_kill_disable"),

	"CgroupParent": word("cgroup_parent"),
	"Isolation":    word("isolation", "default"),
	"OomScoreAdj":  word("oom_score_adj"),
	"UTSMode":      word("uts"),
	"UsernsMode":   word("userns_mode"),
	"CgroupnsMode": func(w *witness, at string, v any) { word("cgroup", w.Cgroupns)(w, at, v) },
	"Runtime":      func(w *witness, at string, v any) { word("runtime", w.Runtime)(w, at, v) },
	"IpcMode":      namespace("ipc", "private", "shareable"),
	"PidMode":      namespace("pid"),
	"NetworkMode":  (*witness).networkMode,
	"VolumesFrom":  (*witness).volumesFrom,

	"Annotations":       pairs("annotations"),
	"StorageOpt":        pairs("storage_opt"),
	"Sysctls":           pairs("sysctls"),
	"CapAdd":            entries("cap_add", capability),
	"DeviceCgroupRules": entries("device_cgroup_rules", nil),
	"ExtraHosts":        entries("extra_hosts", hostEntry),
	"GroupAdd":          entries("group_add", nil),
	"SecurityOpt":       (*witness).securityOpt,
	"DeviceRequests":    (*witness).deviceRequests,
	"Devices":           (*witness).devices,
	"LogConfig":         (*witness).logConfig,

	// Checked with what the engine made of them: see mounts, ports and masked.
	"Binds": fine, "Mounts": fine, "PortBindings": fine, "MaskedPaths": fine, "ReadonlyPaths": fine,

	// They restrict a container or affect nothing else, or the policy has bounds for them.
	"CapDrop": fine, "ConsoleSize": fine, "Dns": fine, "DnsOptions": fine, "DnsSearch": fine, "Init": fine, "Links": fine,
	"ReadonlyRootfs": fine, "RestartPolicy": fine, "ShmSize": fine, "Tmpfs": fine, "Ulimits": fine,
	"BlkioDeviceReadBps": fine, "BlkioDeviceReadIOps": fine, "BlkioDeviceWriteBps": fine, "BlkioDeviceWriteIOps": fine,
	"BlkioWeight": fine, "BlkioWeightDevice": fine, "CpuCount": fine, "CpuPercent": fine, "CpuPeriod": fine, "CpuQuota": fine,
	"CpuRealtimePeriod": fine, "CpuRealtimeRuntime": fine, "CpuShares": fine, "CpusetCpus": fine, "CpusetMems": fine, "NanoCpus": fine,
	"IOMaximumBandwidth": fine, "IOMaximumIOps": fine, "KernelMemory": fine, "KernelMemoryTCP": fine, "Memory": fine,
	"MemoryReservation": fine, "MemorySwap": fine, "MemorySwappiness": fine, "PidsLimit": fine,
}

func fine(*witness, string, any) {}

func notToBe(w *witness, at string, v any) { w.refuseSaid(at, v) }

// whether is for what must be set by a key of the compose service that is true.
func whether(key string) said {
	return func(w *witness, at string, v any) {
		if w.service[key] != true {
			w.refuseSaid(at, v)
		}
	}
}

// word is for a value that a key of the compose service must have too. usual are the engine's
// values if the key is not set.
func word(key string, usual ...string) said {
	return func(w *witness, at string, v any) {
		got, _ := scalarText(v)
		want, _ := scalarText(w.service[key])
		if got != want && (want != "" || !slices.Contains(usual, got)) {
			w.refuseSaid(at, v)
		}
	}
}

// namespace is word for a namespace, which may be another container's.
func namespace(key string, usual ...string) said {
	return func(w *witness, at string, v any) {
		if !w.isOther(str(w.service[key]), str(v)) {
			word(key, usual...)(w, at, v)
		}
	}
}

// isOther reports whether the engine has the container that was asked for: for service:NAME, any
// container of that compose service; for container:NAME, any, since the operator has allowed it.
func (w *witness) isOther(asked, got string) bool {
	id, other := strings.CutPrefix(got, "container:")
	if service, own := strings.CutPrefix(asked, "service:"); own {
		return other && w.Services[id] == service
	}
	return other && isContainer(asked)
}

// entries is for a list each entry of which must have been asked for. same spells entries that
// mean the same alike.
func entries(key string, same func(string) string) said {
	return func(w *witness, at string, v any) {
		w.listed(at, list(v), texts(list(w.service[key]), same), same)
	}
}

func (w *witness) listed(at string, got []any, want []string, same func(string) string) {
	known := map[string]bool{} // a repository chooses how many there are
	for _, text := range want {
		known[text] = true
	}
	for _, entry := range got {
		if text, scalar := scalarText(entry); !scalar || !known[apply(same, text)] {
			w.refuseSaid(at, entry)
		}
	}
}

// texts returns the entries of a list as text.
func texts(all []any, same func(string) string) []string {
	var found []string
	for _, v := range all {
		if text, scalar := scalarText(v); scalar {
			found = append(found, apply(same, text))
		}
	}
	return found
}

func apply(same func(string) string, text string) string {
	if same == nil {
		return text
	}
	return same(text)
}

// pairs is for names with values, each of which must have been asked for.
func pairs(key string) said {
	return func(w *witness, at string, v any) {
		want := object(w.service[key])
		for name, value := range object(v) {
			got, _ := scalarText(value)
			if text, asked := scalarText(want[name]); !asked || text != got {
				w.refuseSaid(at+"."+name, value)
			}
		}
	}
}

// hostEntry spells an entry of extra_hosts as the engine does.
func hostEntry(entry string) string {
	if name, address, found := strings.Cut(entry, "="); found {
		return name + ":" + address
	}
	return entry
}

// securityOpt checks the security options. Compose replaces the path of a seccomp profile with
// its content, and keeps systempaths to itself. An engine adds labels where a container shares a
// namespace with another or with the host.
func (w *witness) securityOpt(at string, v any) {
	want := texts(list(w.service["security_opt"]), securityOption)
	shares := isSet(w.service["pid"]) || isSet(w.service["ipc"]) || w.service["privileged"] == true
	for _, entry := range list(v) {
		option := securityOption(str(entry))
		if !slices.Contains(want, option) && !(shares && strings.HasPrefix(option, "label=")) {
			w.refuseSaid(at, entry)
		}
	}
}

func securityOption(option string) string {
	name, value, found := strings.Cut(option, "=")
	if !found {
		name, value, found = strings.Cut(option, ":")
	}
	switch {
	case name == "no-new-privileges" && !found:
		value = "true"
	case name == "seccomp" && value != "unconfined" && value != "builtin":
		value = "a profile"
	}
	return name + "=" + value
}

// unmasked reports whether the compose service may see all of /proc.
func (w *witness) unmasked() bool {
	return w.service["privileged"] == true || slices.Contains(texts(list(w.service["security_opt"]), nil), "systempaths=unconfined")
}

// masked refuses a container that sees what the engine hides from all others.
func (w *witness) masked() {
	for _, key := range []string{"MaskedPaths", "ReadonlyPaths"} {
		if len(list(w.host[key])) == 0 && !w.unmasked() {
			w.refuse(w.at.said("HostConfig."+key), w.host[key], "the compose file that was checked does not ask for unmasked paths", "")
		}
	}
}

// isCDI reports whether an entry of devices names a CDI device, which a vendor describes.
func isCDI(device map[string]any) bool {
	return device["source"] == device["target"] && !filepath.IsAbs(str(device["source"])) && strings.Contains(str(device["source"]), "=")
}

func (w *witness) devices(at string, v any) {
	for _, entry := range list(v) {
		got := object(entry)
		if !slices.ContainsFunc(list(w.service["devices"]), func(v any) bool {
			want := object(v)
			return got["PathOnHost"] == want["source"] && got["PathInContainer"] == want["target"] &&
				got["CgroupPermissions"] == cmp.Or(str(want["permissions"]), "rwm")
		}) {
			w.refuseSaid(at, entry)
		}
	}
}

func (w *witness) deviceRequests(at string, v any) {
	deploy := object(object(object(w.service["deploy"])["resources"])["reservations"])
	if !set(w.service["gpus"]) && !set(deploy["devices"]) &&
		!slices.ContainsFunc(list(w.service["devices"]), func(v any) bool { return isCDI(object(v)) }) {
		w.refuseSaid(at, v)
	}
}

// logConfig checks the log driver and its options. With its default driver, an engine adds the
// options that its administrator has chosen.
func (w *witness) logConfig(at string, v any) {
	got, want := object(v), object(w.service["logging"])
	if got["Type"] != cmp.Or(str(want["driver"]), w.LogDriver) {
		w.refuseSaid(at+".Type", got["Type"])
	}
	options := object(want["options"])
	for name, value := range object(got["Config"]) {
		have, _ := scalarText(value)
		asked, known := scalarText(options[name])
		if known && have != asked {
			w.refuseSaid(at+".Config."+name, value)
		} else if !known && !logTag(name, have) {
			w.refuse(w.at.said(at+".Config."+name), value, notAsked, "logging.options:"+name+"="+have)
		}
	}
}

func (w *witness) volumesFrom(at string, v any) {
	for _, entry := range list(v) {
		id, _, _ := strings.Cut(str(entry), ":")
		if !slices.ContainsFunc(list(w.service["volumes_from"]), func(v any) bool {
			asked, _, _ := strings.Cut(strings.TrimPrefix(str(v), "container:"), ":")
			return isContainer(str(v)) && asked == id || w.Services[id] == asked
		}) {
			w.refuseSaid(at, entry)
		}
	}
}

// labels checks that the container has the labels of the compose file. Compose sets its own, and
// others come from the image.
func (w *witness) labels(got map[string]any) {
	for name, value := range object(w.service["labels"]) {
		if text, _ := scalarText(value); got[name] != text {
			w.refuse(w.at.said("Labels."+name), got[name], "the compose file that was checked has "+show(value), "")
		}
	}
}

func (w *witness) ports() {
	for target, bindings := range object(w.host["PortBindings"]) {
		port, protocol, _ := strings.Cut(target, "/")
		for _, b := range list(bindings) {
			got := object(b)
			if !slices.ContainsFunc(list(w.service["ports"]), func(v any) bool {
				want := object(v)
				number, _ := scalarText(want["target"])
				published, _ := scalarText(want["published"])
				return number == port && cmp.Or(str(want["protocol"]), "tcp") == protocol &&
					sameAddress(str(got["HostIp"]), str(want["host_ip"])) && str(got["HostPort"]) == published
			}) {
				w.refuseSaid("HostConfig.PortBindings."+target, b)
			}
		}
	}
}
