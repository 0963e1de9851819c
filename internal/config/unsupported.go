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

// replaced has the keys of upstream's file format in whose place pgo has something else.
var replaced = map[string]error{
	"services.mount":   wrong(insteadOfMount, "pgo does not mount file systems"),
	"services.datadir": wrong(InsteadOfDatadir, "pgo has no directories for data"),
	"pgod.datadir":     wrong(InsteadOfDatadir, "pgo has no directories for data"),
}

// InsteadOfDatadir says what to write for miekg/pgo's directory of data.
const InsteadOfDatadir = `write allow = ["bind:/path"] for a directory of the host; ./data in the compose file needs no entry, and is kept`

const insteadOfMount = `have the host mount it, in /etc/fstab for example, and write allow = ["bind:/path"] for the place where it is mounted; or have the compose file declare a volume of type nfs, and write the entry of allow that check names`

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
