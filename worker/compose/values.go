package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"pgo/internal/lazyregexp"
)

// valueKey is where a model keeps the value of a secret or a config that comes from a variable.
// Compose itself writes the variable's name alone, and looks the value up again when it creates
// the container: without the .env, and without what an include has read.
const valueKey = "x-pgo-value"

// maxValue bounds such a value: the kernel takes no longer one for a program's environment.
const maxValue = 100 << 10

// maxValues bounds all of them together.
const maxValues = 512 << 10

// plainVariable matches what can be the name of a variable in a compose file.
var plainVariable = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// fileSections are the sections whose entries become files in containers.
var fileSections = []string{"secrets", "configs"}

// takeValues puts into the model the values that its secrets and configs have where it was
// resolved. The error is an ErrNoModel if a container needs one that is not set.
func (r *reading) takeValues(ctx context.Context, m *Model) error {
	var names []string
	for _, section := range fileSections {
		for _, entry := range objects(m.root[section]) {
			delete(entry, valueKey) // what the repository wrote there is nobody's value
			if variable, _ := entry["environment"].(string); plainVariable.MatchString(variable) {
				names = append(names, variable)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	values, err := r.variables(ctx, names)
	if err != nil {
		return err
	}
	included := r.included(ctx)
	size := 0
	for _, section := range fileSections {
		entries := objects(m.root[section])
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			entry := entries[name]
			variable, _ := entry["environment"].(string)
			if !plainVariable.MatchString(variable) {
				continue // there is none, or the policy refuses it
			}
			value, set := included[section+"."+name]
			if !set {
				value, set = values[variable]
			}
			size += len(value)
			switch {
			case !set && usesFile(m, section, name):
				return &unresolved{text: fmt.Sprintf("cannot resolve %s: %s.%s: the variable %s is not set; set it in .env, or have an operator set it in the service's env",
					r.name(), section, name, variable)}
			case len(value) > maxValue || size > maxValues:
				return &unresolved{text: fmt.Sprintf("cannot resolve %s: %s.%s: the value of %s is too long for a variable; use a file", r.name(), section, name, variable)}
			case strings.ContainsRune(value, 0):
				return &unresolved{text: fmt.Sprintf("cannot resolve %s: %s.%s: the value of %s holds a zero byte; use a file", r.name(), section, name, variable)}
			case set:
				entry[valueKey] = value
			}
		}
	}
	return nil
}

// usesFile reports whether a container gets a secret or a config.
func usesFile(m *Model, section, name string) bool {
	for _, service := range m.services() {
		for _, ref := range list(service[section]) {
			if ref["source"] == name {
				return true
			}
		}
	}
	return false
}

// variables returns the values of the variables that are set where compose reads the files. It
// has compose expand them: nothing else knows what a .env means.
func (r *reading) variables(ctx context.Context, names []string) (map[string]string, error) {
	ask := map[string]map[string]string{"x-pgo-values": {}, "x-pgo-set": {}}
	for _, name := range names {
		ask["x-pgo-values"][name] = "${" + name + "-}"
		ask["x-pgo-set"][name] = "${" + name + "+set}"
	}
	overlay, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	raw, err := r.config(ctx, overlay)
	if err != nil {
		return nil, err
	}
	m, err := Decode(raw)
	if err != nil {
		return nil, err
	}
	values, _ := m.root["x-pgo-values"].(map[string]any)
	set, _ := m.root["x-pgo-set"].(map[string]any)
	found := map[string]string{}
	for _, name := range names {
		value, text := values[name].(string)
		if !text {
			return nil, errors.New("docker compose did not expand the variables of secrets and configs")
		}
		if set[name] == "set" {
			found[name] = value
		}
	}
	return found, nil
}

// included returns the values that an include's env_file gives to secrets, by section.name. They count before those of the .env, as they do for compose.
func (r *reading) included(ctx context.Context) map[string]string {
	found := map[string]string{}
	if !slices.ContainsFunc(r.files, func(file string) bool { return strings.Contains(r.text(file), "include") }) {
		return found
	}
	raw, err := r.unexpanded(ctx)
	if err != nil {
		return found // then such a value is missing, which is an error of its own
	}
	// Compose accepts no config with a variable that an include's env_file sets.
	for name, entry := range objects(raw.root["secrets"]) {
		if value, ok := entry["x-#value"].(string); ok && entry["environment"] != nil { // compose's own key
			found["secrets."+name] = value
		}
	}
	return found
}

// NameValues gives each variable that holds a secret's or a config's value a name of pgo's own.
// The repository's name for it could mean something to the program that gets it, and two of them
// may have the same name. It is to be called once the policy has seen the repository's names.
func (m *Model) NameValues() {
	for _, section := range fileSections {
		for name, entry := range objects(m.root[section]) {
			if _, ok := entry[valueKey].(string); ok {
				entry["environment"] = variableFor(section, name)
			}
		}
	}
}

// variableFor returns the name of the variable with the value of a secret or config. No two have
// the same.
func variableFor(section, name string) string {
	var b strings.Builder
	b.WriteString("PGO_" + section + "_")
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// ValuesFor returns what distinguishes the values of variables that a compose service's files
// have, in a fixed order.
func (m *Model) ValuesFor(service string) []string {
	var values []string
	for _, section := range fileSections {
		entries := objects(m.root[section])
		for _, ref := range list(m.services()[service][section]) {
			source, _ := ref["source"].(string)
			if value, ok := entries[source][valueKey].(string); ok {
				values = append(values, section+"."+source+"="+value)
			}
		}
	}
	slices.Sort(values)
	return values
}

// valuesIn returns the variables with the values that a model's file holds, VAR=VALUE.
func valuesIn(path string) ([]string, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // compose says so
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the model: %w", err)
	}
	if !strings.Contains(string(raw), valueKey) {
		return nil, nil
	}
	m, err := Load(raw)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, section := range fileSections {
		for name, entry := range objects(m.root[section]) {
			if value, ok := entry[valueKey].(string); ok && entry["environment"] == variableFor(section, name) {
				all = append(all, variableFor(section, name)+"="+value)
			}
		}
	}
	slices.Sort(all)
	return all, nil
}
