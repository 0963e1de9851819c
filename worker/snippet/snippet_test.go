package snippet

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const name = "caddy/conf/Caddyfile-import"

// place returns a checkout and the directory that contains it.
func place(t *testing.T) (tree, beside string) {
	t.Helper()
	beside = t.TempDir()
	tree = filepath.Join(beside, "checkout")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	return tree, beside
}

func write(t *testing.T, tree, beside, content string) bool {
	t.Helper()
	changed, err := Write(tree, name, beside, []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestWrite(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	tree, beside := place(t)
	if !write(t, tree, beside, "one\n") {
		t.Error("the first write changed nothing")
	}
	path := filepath.Join(tree, name)
	first := stat(t, path)
	if write(t, tree, beside, "one\n") {
		t.Error("writing the same content again is reported as a change")
	}
	if second := stat(t, path); !os.SameFile(first, second) || !first.ModTime().Equal(second.ModTime()) {
		t.Error("writing the same content again touched the file")
	}
	dir := stat(t, filepath.Dir(path))
	if !write(t, tree, beside, "two\n") {
		t.Error("writing new content is not reported as a change")
	}
	if got, _ := os.ReadFile(path); string(got) != "two\n" {
		t.Errorf("the file holds %q", got)
	}
	if os.SameFile(first, stat(t, path)) {
		t.Error("the file was written in place, not replaced: a reader may see part of it")
	}
	if !os.SameFile(dir, stat(t, filepath.Dir(path))) {
		t.Error("the directory was replaced: a mount of it still shows the old one")
	}
	for path, mode := range map[string]os.FileMode{path: 0o644, filepath.Dir(path): 0o755, filepath.Join(tree, "caddy"): 0o755} {
		if got := stat(t, path).Mode().Perm(); got != mode {
			t.Errorf("%s has mode %o, want %o: containers of any user read it", path, got, mode)
		}
	}
	if left, _ := os.ReadDir(beside); len(left) != 1 {
		t.Errorf("files are left next to the checkout: %v", left)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("files are left next to the snippet: %v", left)
	}
}

func TestWriteMendsMode(t *testing.T) {
	tree, beside := place(t)
	write(t, tree, beside, "one\n")
	if err := os.Chmod(filepath.Join(tree, name), 0o600); err != nil {
		t.Fatal(err)
	}
	if !write(t, tree, beside, "one\n") {
		t.Error("a file that containers cannot read was left as it is")
	}
	if got := stat(t, filepath.Join(tree, name)).Mode().Perm(); got != 0o644 {
		t.Errorf("mode %o", got)
	}
}

// Whatever is in the way is reported, and neither followed nor removed.
func TestWriteInTheWay(t *testing.T) {
	for what, test := range map[string]struct {
		make func(tree, outside string) error
		says string
	}{
		"link to a file outside": {func(tree, outside string) error {
			return link(tree, filepath.Join(outside, "file"), name)
		}, "symbolic link"},
		"link to a file inside": {func(tree, _ string) error {
			return link(tree, "../../compose.yaml", name)
		}, "symbolic link"},
		"dangling link": {func(tree, _ string) error { return link(tree, "nowhere", name) }, "symbolic link"},
		"directory that is a link outside": {func(tree, outside string) error {
			return link(tree, outside, "caddy/conf")
		}, "symbolic link"},
		"top directory that is a link inside": {func(tree, _ string) error {
			if err := os.MkdirAll(filepath.Join(tree, "other/conf"), 0o755); err != nil {
				return err
			}
			return link(tree, "other", "caddy")
		}, "symbolic link"},
		"directory": {func(tree, _ string) error { return os.MkdirAll(filepath.Join(tree, name), 0o755) }, "it is a directory"},
		"file for a directory": {func(tree, _ string) error {
			return os.WriteFile(filepath.Join(tree, "caddy"), nil, 0o644)
		}, "caddy is not a directory"},
		"pipe": {func(tree, _ string) error {
			if err := os.MkdirAll(filepath.Join(tree, "caddy/conf"), 0o755); err != nil {
				return err
			}
			return syscall.Mkfifo(filepath.Join(tree, name), 0o644)
		}, "not a regular file"},
	} {
		t.Run(what, func(t *testing.T) {
			tree, beside := place(t)
			outside := t.TempDir()
			for _, path := range []string{filepath.Join(outside, "file"), filepath.Join(tree, "compose.yaml")} {
				if err := os.WriteFile(path, []byte("mine\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := test.make(tree, outside); err != nil {
				t.Fatal(err)
			}
			changed, err := Write(tree, name, beside, []byte("snippet\n"))
			if err == nil || changed || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "cannot write "+name) {
				t.Errorf("changed %v, error %v", changed, err)
			}
			for _, path := range []string{filepath.Join(outside, "file"), filepath.Join(tree, "compose.yaml")} {
				if got, err := os.ReadFile(path); string(got) != "mine\n" {
					t.Errorf("%s holds %q, %v", path, got, err)
				}
			}
			if files, _ := os.ReadDir(outside); len(files) != 1 {
				t.Errorf("outside of the tree there is %v", files)
			}
			if left, _ := os.ReadDir(beside); len(left) != 1 {
				t.Errorf("files are left next to the checkout: %v", left)
			}
		})
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// link makes a symbolic link in the tree, with the directories above it.
func link(tree, to, from string) error {
	from = filepath.Join(tree, from)
	if err := os.MkdirAll(filepath.Dir(from), 0o755); err != nil {
		return err
	}
	return os.Symlink(to, from)
}
