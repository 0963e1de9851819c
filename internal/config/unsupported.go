package config

import "errors"

var errUnsupported = errors.New("not supported yet")

// unsupported contains the keys of upstream's file format that pgo does not implement yet. They are
// checked like all others and then refused, because to ignore them would be to lose notifications
// silently. Each function reports whether a value asks for the missing behaviour.
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
