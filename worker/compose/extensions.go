package compose

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"pgo/internal/nearest"
)

// extension is the key with pgo's own settings of a compose service.
const extension = "x-pgo"

// startFirst is the only one of them: whether two containers at once are fine, or are not.
const startFirst = "start-first"

// extend adds the settings of pgo's own to the model: compose has them in its YAML and not in its
// JSON.
func (r *reading) extend(ctx context.Context, m *Model) error {
	raw, err := r.config(ctx, nil, "--format", "yaml")
	if err != nil {
		return err
	}
	var said struct {
		Services map[string]map[string]any
	}
	if err := yaml.Unmarshal(raw, &said); err != nil {
		return fmt.Errorf("cannot read the YAML of docker compose config: %w", err)
	}
	for name, service := range m.services() {
		if value, there := said.Services[name][extension]; there {
			service[extension] = asJSON(value)
		}
	}
	return nil
}

// asJSON returns a value of YAML as a model has it: what is neither a mapping nor true or false is a
// text, which is no less wrong.
func asJSON(value any) any {
	switch v := value.(type) {
	case bool:
		return v
	case map[string]any:
		next := map[string]any{}
		for key, inner := range v {
			next[key] = asJSON(inner)
		}
		return next
	}
	return fmt.Sprint(value)
}

// CheckExtensions returns an error if a compose service has a setting of pgo's own that pgo does
// not know, or not with this value.
func CheckExtensions(m *Model) error {
	for _, name := range m.Services() {
		value, there := m.services()[name][extension]
		if !there {
			continue
		}
		at := "services." + name + "." + extension
		settings, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: expected a mapping, such as {%s: true}", at, startFirst)
		}
		for _, key := range slices.Sorted(maps.Keys(settings)) {
			if _, isBool := settings[key].(bool); key == startFirst && !isBool {
				return fmt.Errorf("%s.%s: write true or false", at, key)
			}
			if key == startFirst {
				continue
			}
			hint := "the only setting is " + startFirst
			if word, near := nearest.Word(key, []string{startFirst}); near {
				hint = "did you mean " + word + "?"
			}
			return fmt.Errorf("%s: %s is not known; %s", at, key, hint)
		}
	}
	return nil
}
