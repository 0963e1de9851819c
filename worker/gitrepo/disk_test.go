package gitrepo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgo/internal/gittest"
)

func TestDamagedRepositoriesAreRebuilt(t *testing.T) {
	t.Parallel()
	truncate := func(pattern string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			files, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil || len(files) == 0 {
				t.Fatalf("there is no %s to damage (%v)", pattern, err)
			}
			for _, f := range files {
				if err := os.Chmod(f, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(f, 20); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	write := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, damage := range map[string]func(*testing.T, string){
		"short pack":        truncate("objects/pack/*.pack"),
		"short index":       truncate("objects/pack/*.idx"),
		"short objects":     truncate("objects/[0-9a-f]*/*"),
		"no index":          remove("objects/pack"),
		"no objects":        remove("objects"),
		"no HEAD":           remove("HEAD"),
		"no config":         remove("config"),
		"empty head":        write(headRef, ""),
		"garbage in head":   write(headRef, "ref: refs/heads/other\n"),
		"head is elsewhere": write(headRef, someHash.String()+"\n"),
		"a file": func(t *testing.T, dir string) {
			remove(".")(t, dir)
			if err := os.WriteFile(dir, []byte("not a directory"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"another directory": func(t *testing.T, dir string) {
			remove(".")(t, dir)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			s.commit("a", "a", "large", noise(10<<10))
			s.sync()
			s.commit("a", "b") // the first comes as a pack, this one as objects
			want := s.sync()
			beside := filepath.Join(filepath.Dir(s.dir), "checkout")
			if err := s.Switch(t.Context(), nil, want, beside); err != nil {
				t.Fatal(err)
			}
			damage(t, s.dir)

			s.open(s.asDirectory())
			if s.Rebuilt() == nil {
				t.Error("the damage was not noticed")
			} else {
				t.Log(s.Rebuilt())
			}
			if _, ok := s.Head(); ok {
				t.Error("there is a head in the rebuilt repository")
			}
			wantFile(t, "b", beside, "a")
			if got := s.sync(); got != want {
				t.Errorf("the head is %v, want %v", got, want)
			}
			s.wantStaged("a", "b")
			s.wantSound()
			entries, err := os.ReadDir(filepath.Dir(s.dir))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			if got := strings.Join(names, " "); got != "checkout checkout.tracked repo.git" {
				t.Errorf("next to the repository there is %s", got)
			}
		})
	}
}

// A crash while a damaged repository is replaced leaves nothing that is in the way.
func TestKilledWhileRebuilding(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	want := s.commit("a", "a")
	s.sync()
	for _, crash := range []func() error{
		func() error { return os.CopyFS(s.dir+".new", os.DirFS(s.dir)) },
		func() error { return os.CopyFS(s.dir+".damaged", os.DirFS(s.dir)) },
		func() error { return os.Rename(s.dir, s.dir+".damaged") },
	} {
		if err := crash(); err != nil {
			t.Fatal(err)
		}
		s.open(s.asDirectory())
		if got := s.sync(); got != want {
			t.Errorf("the head is %v, want %v", got, want)
		}
		for _, left := range []string{".new", ".damaged"} {
			if _, err := os.Lstat(s.dir + left); err == nil {
				t.Errorf("%s is still there", left)
			}
		}
	}
}

// A damaged file may be noticed only when it is written to a directory.
func TestDamagedFileIsNotWritten(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"small": "the content", "large": noise(1<<20 + 1)} {
		for kind, damage := range map[string]func(blob, other string) error{
			"other": func(blob, other string) error { return os.Rename(other, blob) },
			"short": func(blob, _ string) error {
				info, err := os.Stat(blob)
				return errors.Join(err, os.Chmod(blob, 0o600), os.Truncate(blob, info.Size()-5))
			},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				s := newSetup(t)
				s.commit("a", "a")
				s.sync()
				s.commit("b", content, "c", "another")
				head := s.sync()
				object := func(name string) string {
					h := s.remote.Git("rev-parse", "HEAD:"+name)
					return filepath.Join(s.dir, "objects", h[:2], h[2:])
				}
				if err := damage(object("b"), object("c")); err != nil {
					t.Fatal(err)
				}
				dir := filepath.Join(t.TempDir(), "stage")
				wantKind(t, s.Stage(t.Context(), head, dir), ErrDamaged)
				if _, err := os.Lstat(filepath.Join(dir, "b")); err == nil {
					t.Error("the damaged file was written")
				}
				if err := s.Rebuild(); err != nil {
					t.Fatal(err)
				}
				s.wantStaged("b", content)
			})
		}
	}
}

// A fetch builds on what is here. If that is damaged, it fetches everything, provided that the
// damage shows without reading everything.
func TestDamageBeforeFetching(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(noise(100), 100)
	for name, c := range map[string]struct {
		damage func(file string) error
		change []string
		kind   error
	}{
		"missing": {os.Remove, []string{"a", "b"}, nil},
		"empty":   {func(file string) error { return os.Truncate(file, 0) }, []string{"a", "b"}, ErrDamaged},
		"short": {func(file string) error {
			info, err := os.Stat(file)
			return errors.Join(err, os.Truncate(file, info.Size()-10))
		}, []string{"b", long + "more"}, ErrDamaged}, // which comes as a delta
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			s.commit("a", "a")
			s.open(Remote{URL: gittest.HTTP(t, s.root, "") + "/app"})
			s.sync()
			s.commit("b", long)
			s.sync()
			blob := s.remote.Git("rev-parse", "HEAD:b")
			file := filepath.Join(s.dir, "objects", blob[:2], blob[2:])
			if err := errors.Join(os.Chmod(file, 0o600), c.damage(file)); err != nil {
				t.Fatal(err)
			}
			next := s.commit(c.change...)
			if c.kind != nil {
				wantKind(t, s.Fetch(t.Context(), next), c.kind)
				if err := s.Rebuild(); err != nil {
					t.Fatal(err)
				}
			}
			s.wantStaged(c.change...)
		})
	}
}

func TestRepositoryIsItsUsersAlone(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.commit("a", "a")
	s.sync()
	info, err := os.Stat(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("the repository's mode is %v", info.Mode())
	}
}
