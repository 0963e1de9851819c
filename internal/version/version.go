// Package version knows which build this is.
package version

// Version is stamped by the linker: -X pgo/internal/version.Version=v1.2.3.
var Version = "devel"

// String returns what `-v` of the three commands prints after their name.
func String() string { return Version }
