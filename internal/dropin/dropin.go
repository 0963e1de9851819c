// Package dropin holds the rule by which a configuration file is completed by those in a
// directory beside it. It knows names only: neither where the files are, on this host or in
// git, nor what is in them.
package dropin

import "strings"

// Dir is the directory whose files are read beside the file at path: /etc/pgo.d for
// /etc/pgo.toml.
func Dir(path string) string { return strings.TrimSuffix(path, ".toml") + ".d" }

// Counts reports whether a file of that name in the directory is read. An editor's backup,
// which begins with a dot, is not.
func Counts(name string) bool { return strings.HasSuffix(name, ".toml") && name[0] != '.' }
