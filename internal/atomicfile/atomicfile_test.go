package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	inode := func() uint64 {
		t.Helper()
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Ino
	}
	var last uint64
	for _, step := range []struct {
		content string
		perm    fs.FileMode
		written bool
	}{
		{"one", 0o600, true},
		{"one", 0o600, false},
		{"two", 0o600, true},
		{"two", 0o644, true},
		{"two", 0o644, false},
		{"", 0o644, true},
	} {
		if err := Replace(path, []byte(step.content), step.perm); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != step.content {
			t.Errorf("it contains %q, %v", got, err)
		}
		now := inode()
		if (now != last) != step.written {
			t.Errorf("%q: written is %v", step.content, now != last)
		}
		last = now
	}
	// Whatever else is there is replaced, not followed.
	other := filepath.Join(t.TempDir(), "other")
	if err := errors.Join(os.WriteFile(other, []byte("x"), 0o600), os.Remove(path), os.Symlink(other, path)); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		t.Errorf("it is %v, %v", info.Mode(), err)
	}
}

// What a log deduplicates must not differ by the name of a temporary file.
func TestErrorsAreTheSameEachTime(t *testing.T) {
	dir := t.TempDir()
	directory := filepath.Join(dir, "directory")
	if err := os.MkdirAll(filepath.Join(directory, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "absent", "file"), directory} {
		first, second := Replace(path, nil, 0o600), Replace(path, nil, 0o600)
		if first == nil || second == nil || first.Error() != second.Error() || !strings.HasPrefix(first.Error(), "cannot write "+path+": ") {
			t.Errorf("%v, then %v", first, second)
		}
	}
}
