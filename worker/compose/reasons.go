package compose

import (
	"maps"
	"reflect"
	"slices"
	"strconv"

	"pgo/internal/lazyregexp"
)

// Diff returns the keys in which two models differ, sorted: services.web.image. If one of them
// lacks a key, Diff returns that key, not everything below it.
func Diff(a, b *Model) []string {
	keys := map[string]bool{}
	diff(keys, "", a.root, b.root)
	return slices.Sorted(maps.Keys(keys))
}

// SameService reports whether a compose service is the same in two models.
func SameService(a, b *Model, name string) bool {
	return a.services()[name] != nil && reflect.DeepEqual(a.services()[name], b.services()[name])
}

func diff(keys map[string]bool, at string, a, b any) {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || a == nil || b == nil {
			break
		}
		for key := range a {
			if _, both := b[key]; both {
				diff(keys, join(at, key), a[key], b[key])
			} else {
				keys[join(at, key)] = true
			}
		}
		for key := range b {
			if _, both := a[key]; !both {
				keys[join(at, key)] = true
			}
		}
		return
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			break
		}
		for i := range a {
			diff(keys, at+"["+strconv.Itoa(i)+"]", a[i], b[i])
		}
		return
	}
	if !reflect.DeepEqual(a, b) {
		keys[at] = true
	}
}

var plainKey = lazyregexp.New(`^[A-Za-z0-9_/-]+$`)

func join(at, key string) string {
	if key == valueKey {
		key = "environment" // what the repository has there
	}
	if !plainKey.MatchString(key) {
		key = strconv.Quote(key)
	}
	if at == "" {
		return key
	}
	return at + "." + key
}
