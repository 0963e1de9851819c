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
	directories := map[string]bool{"caddy": true, "./caddy/": true}
	for name, want := range map[string]string{
		"import":                "",
		"caddy/import":          "",
		"caddy/deep/import":     "",
		"new/import":            "",
		"./caddy//import":       "",
		"caddy/Caddyfile":       "caddy/Caddyfile",
		"caddy":                 "caddy",
		"./caddy/":              "caddy",
		"file/import":           "file",
		"file/deeper/import":    "file",
		"link/import":           "link",
		"link":                  "link",
		"caddy/Caddyfile/below": "caddy/Caddyfile",
	} {
		if got, isDir, err := s.Occupant(head, name); got != want || isDir != directories[name] || err != nil {
			t.Errorf("%s: %q, a directory: %v, %v; want %q", name, got, isDir, err, want)
		}
	}
}
