package config

import "errors"

var errUnsupported = errors.New("not supported yet")

// unsupported holds the keys whose behaviour is not there yet: they are checked like all
// others and then refused, rather than ignored. Each function says whether a value asks
// for that behaviour.
var unsupported = map[string]func(raw any) bool{
	"pgod.notify": notEmpty,

	"services.notify": notEmpty,
}

// notEmpty is true for all but an empty list or table, which every key has as its default.
func notEmpty(raw any) bool {
	switch raw := raw.(type) {
	case []any:
		return len(raw) > 0
	case map[string]any:
		return len(raw) > 0
	}
	return true
}
