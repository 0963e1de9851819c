package policy

import (
	"path"
	"slices"
	"strings"

	"pgo/internal/lazyregexp"
)

// anonymous matches the name that an engine gives to a volume without one.
var anonymous = lazyregexp.New(`^[0-9a-f]{64}$`)

// Anonymous reports whether an engine has chosen a volume's name, for one container.
func Anonymous(volume string) bool { return anonymous.MatchString(volume) }

// ofTheEngine is the propagation that an engine chooses by itself if the source of a mount is in
// its own data, or contains that. It propagates nothing to the host.
const ofTheEngine = "rslave"

// asked is a mount that a compose service asks for.
type asked struct {
	kind, source string
	readOnly     bool
	propagation  string
}

// mounts checks what the engine will mount, by the place in the container.
func (w *witness) mounts(got []any) {
	want, open := w.askedMounts(w.name, map[string]bool{})
	for _, entry := range got {
		m := object(entry)
		target := path.Clean(str(m["Destination"]))
		if !w.mounted(m, want[target], open) {
			// The path is shown even if it sounds like the name of a secret.
			w.refuse(place{path: w.at.path + " mount " + target, name: "mount"}, mountText(m), notAsked, "")
		}
	}
}

// mounted reports whether the mount that the engine has at a place is one of those asked for
// there. open: the operator has allowed the mounts of a container of another project.
func (w *witness) mounted(m map[string]any, want []asked, open bool) bool {
	kind, source := str(m["Type"]), str(m["Source"])
	if kind == "volume" {
		source = str(m["Name"])
	}
	writable, propagation := m["RW"] != false, str(m["Propagation"])
	named := kind != "volume" || !Anonymous(source)
	if !named && str(m["Driver"]) == "local" && !slices.ContainsFunc(want, func(a asked) bool { return a.source != "" }) {
		return true // the image's, or one without a name
	}
	return open || slices.ContainsFunc(want, func(a asked) bool {
		same := a.source == source || kind != "bind" && kind != "volume"
		return a.kind == kind && same && (!writable || !a.readOnly) && slices.Contains([]string{"", "private", "rprivate", ofTheEngine, a.propagation}, propagation)
	})
}

func mountText(m map[string]any) string {
	text := str(m["Type"]) + " of " + str(m["Source"])
	if name := str(m["Name"]); name != "" {
		text = str(m["Type"]) + " " + name
	}
	if m["RW"] != false {
		text += ", writable"
	}
	return text
}

// askedMounts returns the mounts that a compose service asks for, by their place in
// the container, with those of the services that it takes volumes from.
func (w *witness) askedMounts(service string, seen map[string]bool) (all map[string][]asked, open bool) {
	all = map[string][]asked{}
	if seen[service] {
		return all, false
	}
	seen[service] = true
	s := object(object(w.model["services"])[service])
	put := func(target string, a asked) {
		target = path.Clean(target)
		all[target] = append(all[target], a)
	}
	for _, v := range list(s["volumes"]) {
		put(w.askedMount(object(v)))
	}
	w.askedFiles(s, "secrets", "/run/secrets/", put)
	w.askedFiles(s, "configs", "/", put)
	if s["use_api_socket"] == true {
		put("/var/run/docker.sock", asked{kind: "bind", source: "/var/run/docker.sock"})
	}
	for _, v := range list(s["volumes_from"]) {
		if isContainer(str(v)) {
			open = true
			continue
		}
		from, _, _ := strings.Cut(str(v), ":")
		more, moreOpen := w.askedMounts(from, seen)
		open = open || moreOpen
		for target, mounts := range more {
			all[target] = append(all[target], mounts...)
		}
	}
	return all, open
}

func (w *witness) askedMount(v map[string]any) (target string, a asked) {
	a = asked{kind: str(v["type"]), source: str(v["source"]), readOnly: v["read_only"] == true}
	a.propagation = str(object(v["bind"])["propagation"])
	switch volume, known := object(w.model["volumes"])[a.source]; {
	case a.kind == "volume" && known:
		a.source = str(object(volume)["name"])
	case a.kind == "bind":
		a.source = path.Clean(a.source)
	case a.kind == "tmpfs":
		a.source = ""
	}
	return str(v["target"]), a
}

// askedFiles puts the files of a compose service's secrets or configs that are mounted. The
// others are copied into the container.
func (w *witness) askedFiles(service map[string]any, section, dir string, put func(string, asked)) {
	for _, v := range list(service[section]) {
		ref := object(v)
		target := str(ref["target"])
		if target == "" {
			target = str(ref["source"])
		}
		if !strings.HasPrefix(target, "/") {
			target = dir + target
		}
		if file := str(object(object(w.model[section])[str(ref["source"])])["file"]); file != "" {
			put(target, asked{kind: "bind", source: path.Clean(file), readOnly: true})
		}
	}
}
