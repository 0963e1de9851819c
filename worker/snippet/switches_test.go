package snippet

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A switch is the only file of its prefix, or there is none, and nothing else is touched.
func TestSwitch(t *testing.T) {
	tree, beside := t.TempDir(), t.TempDir()
	if err := Switch(tree, "caddy", beside, ".s.other=", "left alone"); err != nil {
		t.Fatal(err)
	}
	file := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(tree, "caddy", name), []byte("not pgo's"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file("Caddyfile")
	file("s.web=one")
	has := func(when string, want ...string) {
		t.Helper()
		got, err := Switches(tree, "caddy", ".s.")
		if want = append([]string{"other=left alone"}, want...); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s there are %q, %v; want %q", when, got, err, want)
		}
	}
	for _, want := range []string{"", "one", "one", "two", "", "three"} {
		if err := Switch(tree, "caddy", beside, ".s.web=", want); err != nil {
			t.Fatal(err)
		}
		if want == "" {
			has("released")
		} else {
			has("switched to "+want, "web="+want)
		}
	}
	// A crash between two steps may leave more.
	file(".s.web=four")
	file(".s.web=five")
	if err := Switch(tree, "caddy", beside, ".s.web=", "five"); err != nil {
		t.Fatal(err)
	}
	has("after a crash", "web=five")
	if left, err := os.ReadDir(filepath.Join(tree, "caddy")); err != nil || len(left) != 4 {
		t.Errorf("left are %v, %v", left, err)
	}
	if got, err := Switches(tree, "elsewhere", ".s."); err != nil || len(got) > 0 {
		t.Errorf("without a directory there is %v, %v", got, err)
	}
}

// Nobody leads pgo out of the directory.
func TestSwitchFollowsNoLink(t *testing.T) {
	tree, outside, beside := t.TempDir(), t.TempDir(), t.TempDir()
	precious := filepath.Join(outside, ".s.precious")
	if err := os.WriteFile(precious, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"caddy", "deep"} {
		if err := os.Symlink(outside, filepath.Join(tree, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"caddy", "deep/caddy"} {
		if err := Switch(tree, name, beside, ".s.", "one"); err == nil {
			t.Errorf("it followed %s", name)
		}
	}
	if got, err := Switches(tree, "caddy", ".s."); err == nil {
		t.Errorf("it read %v through a link", got)
	}
	// A link in the place of a switch is replaced or removed, and not what it leads to.
	for _, want := range []string{"two", ""} {
		if err := os.Symlink(precious, filepath.Join(tree, ".s.one")); err != nil {
			t.Fatal(err)
		}
		if err := Switch(tree, ".", beside, ".s.", want); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 1 {
		t.Errorf("outside there is %v, %v", left, err)
	}
	if text, err := os.ReadFile(precious); err != nil || string(text) != "data" {
		t.Errorf("outside there is %q, %v", text, err)
	}
}
