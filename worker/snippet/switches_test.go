package snippet

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// A switch is the only file of its directory, or there is none.
func TestSwitch(t *testing.T) {
	tree := t.TempDir()
	at := [2]string{"app", "web"}
	for _, want := range []string{"", "one", "one", "two", "", "three"} {
		if err := Switch(tree, "caddy/.s/app/web", want); err != nil {
			t.Fatal(err)
		}
		if got, err := Switches(tree, "caddy/.s"); err != nil || !maps.Equal(got, map[[2]string]string{at: want}) {
			t.Errorf("switched to %q: %v, %v", want, got, err)
		}
	}
	// A crash between two steps may leave more.
	for _, name := range []string{"four", "five"} {
		if err := os.WriteFile(filepath.Join(tree, "caddy/.s/app/web", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Switch(tree, "caddy/.s/app/web", "five"); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(tree, "caddy/.s/app/web")); err != nil || len(left) != 1 || left[0].Name() != "five" {
		t.Errorf("left are %v, %v", left, err)
	}
	if got, err := Switches(tree, "elsewhere"); err != nil || len(got) > 0 {
		t.Errorf("without a directory there is %v, %v", got, err)
	}
}

// Nobody leads pgo out of the directory.
func TestSwitchFollowsNoLink(t *testing.T) {
	tree, outside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "precious"), []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(tree, ".s/app"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{".s/app/web", ".s/other", ".t"} {
		if err := os.Symlink(outside, filepath.Join(tree, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{".s/app/web", ".s/other/web", ".t/app/web"} {
		if err := Switch(tree, name, "one"); err == nil {
			t.Errorf("it followed %s", name)
		}
	}
	for _, name := range []string{".s", ".t"} {
		if got, err := Switches(tree, name); err == nil {
			t.Errorf("it read %v through a link below %s", got, name)
		}
	}
	left, err := os.ReadDir(outside)
	if err != nil || len(left) != 1 {
		t.Errorf("outside there is %v, %v", left, err)
	}
}
