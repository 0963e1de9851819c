package compose

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Stays describes the existing volumes of a model that are not as it says: an engine never
// changes a volume, and neither does compose. Values are not shown: options may have passwords.
func Stays(m *Model, made map[string]Volume, project string) (all []string) {
	volumes := objects(m.root["volumes"])
	for _, key := range slices.Sorted(maps.Keys(volumes)) {
		volume := volumes[key]
		name, _ := volume["name"].(string)
		v, exists := made[name]
		if !exists || volume["external"] == true {
			continue
		}
		var differ []string
		driver, _ := volume["driver"].(string)
		if driver == "" {
			driver = "local"
		}
		if driver != v.Driver {
			differ = append(differ, "driver")
		}
		differ = append(differ, differing("driver_opts.", volume["driver_opts"], v.Options)...)
		if v.Project == project { // otherwise somebody made it by hand, without them
			differ = append(differ, differing("labels.", volume["labels"], v.Labels)...)
		}
		if len(differ) > 0 {
			all = append(all, fmt.Sprintf("the volume %s keeps its data and stays as it was made, not as the file says now (%s); "+
				"for a new one without that data: down, docker volume rm %s, up", name, strings.Join(differ, ", "), name))
		}
	}
	return all
}

// differing returns the keys whose value is not the same in both.
func differing(prefix string, asked any, has map[string]string) (keys []string) {
	want := map[string]string{}
	entries, _ := asked.(map[string]any)
	for key, value := range entries {
		want[key] = fmt.Sprint(value)
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if value, there := has[key]; !there || value != want[key] {
			keys = append(keys, prefix+key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(has)) {
		if _, there := want[key]; !there {
			keys = append(keys, prefix+key)
		}
	}
	return keys
}

// TakeVolumes has compose take these volumes as they are: it would ask whether to make anew one
// that it finds to be otherwise.
func (m *Model) TakeVolumes(made map[string]Volume) {
	for _, volume := range objects(m.root["volumes"]) {
		name, _ := volume["name"].(string)
		if _, exists := made[name]; !exists {
			continue
		}
		clear(volume)
		volume["name"], volume["external"] = name, true
	}
}
