// Package dropin has the rule for which files in a directory next to a configuration file complete
// it. It knows only names: neither where the files are, on this host or in git, nor their content.
package dropin

import "strings"

// Dir returns the directory whose files are read in addition to the file at path: /etc/pgo.d for
// /etc/pgo.toml.
func Dir(path string) string { return strings.TrimSuffix(path, ".toml") + ".d" }

// Counts reports whether a file with that name in the directory is read. An editor's backup, whose
// name begins with a dot, is not.
func Counts(name string) bool { return strings.HasSuffix(name, ".toml") && name[0] != '.' }
