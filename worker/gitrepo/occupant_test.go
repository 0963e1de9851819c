package gitrepo

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOccupant(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	if err := os.Symlink("caddy", filepath.Join(s.remote.Dir, "link")); err != nil {
		t.Fatal(err)
	}
	s.commit("caddy/Caddyfile", "c", "file", "f")
	head := s.sync()
	for name, want := range map[string]string{
		"import":                "",
		"caddy/import":          "",
		"caddy/deep/import":     "",
		"new/import":            "",
		"./caddy//import":       "",
		"caddy/Caddyfile":       "caddy/Caddyfile",
		"caddy":                 "caddy",
		"file/import":           "file",
		"file/deeper/import":    "file",
		"link/import":           "link",
		"link":                  "link",
		"caddy/Caddyfile/below": "caddy/Caddyfile",
	} {
		if got, err := s.Occupant(head, name); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
}
