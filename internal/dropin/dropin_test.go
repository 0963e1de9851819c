package dropin_test

import (
	"testing"

	"pgo/internal/dropin"
)

func TestDir(t *testing.T) {
	for path, want := range map[string]string{"/etc/pgo.toml": "/etc/pgo.d", "pgo.toml": "pgo.d", "/etc/pgo": "/etc/pgo.d"} {
		if got := dropin.Dir(path); got != want {
			t.Errorf("Dir(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestCounts(t *testing.T) {
	for name, want := range map[string]bool{"web.toml": true, ".web.toml": false, ".toml": false, "web.toml~": false, "web": false, "": false} {
		if got := dropin.Counts(name); got != want {
			t.Errorf("Counts(%q) = %v", name, got)
		}
	}
}
