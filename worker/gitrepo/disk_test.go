package gitrepo

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
				t.Errorf("beside the repository there is %s", got)
			}
		})
	}
}

// A crash while a damaged repository is replaced leaves nothing that hinders.
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

// What an unreadable object is found to be only when it is written.
func TestDamagedFileIsNotWritten(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.commit("a", "a")
	s.sync()
	s.commit("b", "the content")
	head := s.sync()
	blob := s.remote.Git("rev-parse", "HEAD:b")
	other := s.remote.Git("rev-parse", "HEAD^{tree}")
	object := func(h string) string { return filepath.Join(s.dir, "objects", h[:2], h[2:]) }
	if err := os.Rename(object(other), object(blob)+".tree"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(object(blob), object(other)); err != nil {
		t.Fatal(err)
	}
	err := s.Stage(t.Context(), head, filepath.Join(t.TempDir(), "stage"))
	wantKind(t, err, ErrDamaged)

	if err := s.Rebuild(); err != nil {
		t.Fatal(err)
	}
	s.wantStaged("b", "the content")
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
