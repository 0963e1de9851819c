package config

import "errors"

var errUnsupported = errors.New("not supported yet")

// unsupported holds the keys that are not implemented yet. They are checked like all others and
// then refused rather than ignored. Each function reports whether a value asks for the missing
// behaviour.
var unsupported = map[string]func(raw any) bool{
	"pgod.notify": notEmpty,

	"services.notify": notEmpty,
}

// notEmpty reports whether raw is anything but an empty list or table, the default of every key
// here.
func notEmpty(raw any) bool {
	switch raw := raw.(type) {
	case []any:
		return len(raw) > 0
	case map[string]any:
		return len(raw) > 0
	}
	return true
}
