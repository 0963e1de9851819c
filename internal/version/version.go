// Package version reports which build this is. It imports nothing of pgo, since every other
// package may import it.
package version

// Version is stamped by the linker: -X pgo/internal/version.Version=v1.2.3.
var Version = "devel"

// String returns what `-v` of the three commands prints after their name.
func String() string { return Version }
