package compose

import (
	"path/filepath"
	"slices"
	"strings"
)

// Use is how a model uses a path.
type Use int

const (
	// Mounted content is read by containers, or by compose when it creates them.
	Mounted Use = iota
	// Context is what an image is built from.
	Context
)

// path is one host path in the model, with the field that holds it.
type path struct {
	use   Use
	value string
	set   func(string)
}

// Reroot moves every path below from to the same place below to.
func (m *Model) Reroot(from, to string) {
	for _, p := range m.paths() {
		if rel, ok := below(from, p.value); ok {
			p.set(filepath.Join(to, rel))
		}
	}
}

// clean removes .. from the paths that a compose file had absolute. Where a symlink is before one,
// the kernel would go another way; what is checked, and mounted, is what compose does with relative
// paths.
func clean(m *Model) {
	for _, p := range m.paths() {
		if slices.Contains(strings.Split(p.value, "/"), "..") {
			p.set(filepath.Clean(p.value))
		}
	}
}

// Uses returns the paths below root that the model uses in the given way,
// relative to root, sorted. "." is root itself.
func (m *Model) Uses(root string, use Use) []string {
	var rels []string
	for _, p := range m.paths() {
		if rel, ok := below(root, p.value); ok && p.use == use {
			rels = append(rels, rel)
		}
	}
	slices.Sort(rels)
	return slices.Compact(rels)
}

// below returns path relative to root, if it is in there. Both are absolute and cleaned by
// compose.
func below(root, path string) (string, bool) {
	rel, err := filepath.Rel(root, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", false
	}
	return rel, true
}

// paths returns every field of the model that holds a host path. It goes by the field's place,
// not by its text. Compose has made the paths absolute, except a Dockerfile, which is relative to
// its context.
func (m *Model) paths() []path {
	var all []path
	field := func(use Use, object map[string]any, key string) {
		if s, ok := object[key].(string); ok && filepath.IsAbs(s) {
			all = append(all, path{use, s, func(v string) { object[key] = v }})
		}
	}
	for _, service := range m.services() {
		for _, volume := range list(service["volumes"]) {
			if volume["type"] == "bind" {
				field(Mounted, volume, "source")
			}
		}
		for _, file := range list(service["env_file"]) {
			field(Mounted, file, "path")
		}
		if build, ok := service["build"].(map[string]any); ok {
			field(Context, build, "context")
			field(Context, build, "dockerfile")
			all = append(all, relativeDockerfile(build)...)
			if contexts, ok := build["additional_contexts"].(map[string]any); ok {
				for name := range contexts {
					field(Context, contexts, name)
				}
			}
		}
		if develop, ok := service["develop"].(map[string]any); ok {
			for _, watch := range list(develop["watch"]) {
				field(Context, watch, "path")
			}
		}
	}
	for _, section := range []string{"configs", "secrets"} {
		for _, entry := range objects(m.root[section]) {
			field(Mounted, entry, "file")
		}
	}
	for _, volume := range objects(m.root["volumes"]) {
		if opts, ok := volume["driver_opts"].(map[string]any); ok {
			field(Mounted, opts, "device")
		}
	}
	return all
}

// relativeDockerfile returns the Dockerfile as a path that moves with its context: it may be
// outside of it.
func relativeDockerfile(build map[string]any) []path {
	context, _ := build["context"].(string)
	file, _ := build["dockerfile"].(string)
	if !filepath.IsAbs(context) || file == "" || filepath.IsAbs(file) {
		return nil
	}
	return []path{{Context, filepath.Join(context, file), func(string) {}}}
}

// list returns the objects in a JSON array.
func list(v any) []map[string]any {
	var found []map[string]any
	entries, _ := v.([]any)
	for _, entry := range entries {
		if o, ok := entry.(map[string]any); ok {
			found = append(found, o)
		}
	}
	return found
}
