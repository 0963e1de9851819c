package gitrepo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFile(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	if err := os.Symlink("pgo.toml", filepath.Join(s.remote.Dir, "link.toml")); err != nil {
		t.Fatal(err)
	}
	s.commit("pgo.toml", "a = 1\n", "pgo.d/b.toml", "b", "pgo.d/a.toml", "a", "pgo.d/sub.toml/c.toml", "c")
	head := s.sync()
	for name, want := range map[string]string{"pgo.toml": "a = 1\n", "./pgo.d/b.toml": "b"} {
		if got, err := s.File(head, name, 6); string(got) != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]error{
		"nothing": fs.ErrNotExist, "pgo.toml/below": fs.ErrNotExist, "link.toml": ErrBadCommit, "pgo.d": ErrBadCommit,
	} {
		if got, err := s.File(head, name, 6); got != nil || !errors.Is(err, want) {
			t.Errorf("%s: %q, %v; want %v", name, got, err, want)
		}
	}
	if _, err := s.File(head, "pgo.toml", 5); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "pgo.toml") {
		t.Errorf("too large: %v", err)
	}
	for _, dir := range []string{"pgo.toml", "link.toml"} {
		if got, err := s.Names(head, dir); got != nil || !errors.Is(err, ErrBadCommit) {
			t.Errorf("%s: %q, %v", dir, got, err)
		}
	}
	for dir, want := range map[string][]string{"pgo.d": {"a.toml", "b.toml"}, "nothing": nil, "pgo.toml/below": nil} {
		if got, err := s.Names(head, dir); !slices.Equal(got, want) || err != nil {
			t.Errorf("%s: %q, %v", dir, got, err)
		}
	}
}
