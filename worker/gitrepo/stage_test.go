package gitrepo

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// listing describes everything in a directory: each path with its mode and its content or target.
func listing(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	var walk func(string)
	walk = func(sub string) {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name := filepath.Join(sub, e.Name())
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			switch info.Mode().Type() {
			case fs.ModeDir:
				found[name] = info.Mode().String()
				walk(name)
			case fs.ModeSymlink:
				target, err := os.Readlink(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				found[name] = "-> " + target
			default:
				found[name] = info.Mode().String() + " " + read(t, dir, name)
			}
		}
	}
	walk(".")
	return found
}

// committed describes a commit in the same way, as git sees it.
func (s *setup) committed(commit Hash) map[string]string {
	s.t.Helper()
	var names, blobs []string
	found := map[string]string{}
	kinds := map[string]string{"100755": "-rwxr-xr-x ", "100644": "-rw-r--r-- ", "120000": "-> "}
	for _, line := range strings.Split(s.remote.Git("ls-tree", "-r", "-t", "-z", commit.String()), "\x00") {
		about, name, _ := strings.Cut(line, "\t")
		words := strings.Fields(about)
		if len(words) == 0 || words[0] == "160000" { // a submodule belongs to another repository
			continue
		}
		if words[0] == "040000" {
			found[name] = "drwxr-xr-x"
			continue
		}
		found[name] = kinds[words[0]]
		names, blobs = append(names, name), append(blobs, words[2])
	}
	contents := s.remote.GitInput(strings.Join(blobs, "\n"), "cat-file", "--batch")
	for _, name := range names {
		var hash, kind string
		var size int
		if _, err := fmt.Sscan(contents, &hash, &kind, &size); err != nil {
			s.t.Fatal(err)
		}
		_, contents, _ = strings.Cut(contents, "\n")
		found[name] += contents[:size]
		contents = contents[size+1:]
	}
	return found
}

func wantSame(t testing.TB, got, want map[string]string) {
	t.Helper()
	for name, is := range got {
		if want[name] == "" {
			t.Errorf("there is %q (%.40q), which should not be", name, is)
		}
	}
	for name, should := range want {
		if got[name] != should {
			t.Errorf("%q is %.40q, want %.40q", name, got[name], should)
		}
	}
}

// strange makes a commit with everything that a tree may hold.
func (s *setup) strange() Hash {
	s.t.Helper()
	for _, name := range []string{
		"plain", "with space", "new\nline", "tab\t\"quoted\"", "Case", "case", "non-utf8-\xff\xfe", "-dash", "*", "a\\b",
		"deep/er/and/deeper/file", "...", ".gitignore", ".github/x", "git/.gitkeep", "ünïcode", strings.Repeat("n", 255),
	} {
		s.remote.Write(name, "content of "+name)
	}
	s.remote.Write(".gitignore", "")
	s.remote.Write("empty", "")
	s.remote.Write("script", "#!/bin/sh\n")
	for _, err := range []error{
		os.Chmod(filepath.Join(s.remote.Dir, "script"), 0o755),
		os.Symlink("plain", filepath.Join(s.remote.Dir, "link")),
		os.Symlink("/etc/passwd", filepath.Join(s.remote.Dir, "absolute")),
		os.Symlink("../../../../etc", filepath.Join(s.remote.Dir, "outside")),
		os.Symlink("nowhere\n", filepath.Join(s.remote.Dir, "deep", "dangling")),
		os.Symlink("deep", filepath.Join(s.remote.Dir, "dirlink")),
	} {
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return s.commit()
}

func TestStageIsExactlyTheCommit(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	commit := s.strange()
	s.sync()
	dir := s.stage(commit)
	wantSame(t, listing(t, dir), s.committed(commit))

	// Whatever happened there in between.
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, "plain"), []byte("content of plai!"), 0o644),
		os.Chmod(filepath.Join(dir, "empty"), 0o755),
		os.Remove(filepath.Join(dir, "link")),
		os.Symlink("script", filepath.Join(dir, "link")),
		os.RemoveAll(filepath.Join(dir, "deep", "er")),
		os.Symlink(s.root, filepath.Join(dir, "deep", "er")),
		os.Remove(filepath.Join(dir, "Case")),
		os.MkdirAll(filepath.Join(dir, "Case", "is", "now"), 0o755),
		os.MkdirAll(filepath.Join(dir, "not", "tracked"), 0o755),
		os.WriteFile(filepath.Join(dir, "not", "tracked", "\xff"), nil, 0o600),
		os.Chmod(filepath.Join(dir, ".github"), 0o700),
		os.WriteFile(filepath.Join(dir, temporary), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Stage(t.Context(), commit, dir); err != nil {
		t.Fatal(err)
	}
	wantSame(t, listing(t, dir), s.committed(commit))
	if entries, _ := os.ReadDir(s.root); len(entries) != 1 {
		t.Error("a link led out of the stage")
	}

	s.remote.Git("rm", "-r", "--quiet", "deep", "link", "new\nline")
	next := s.commit("deep", "a file now", "link/a", "a directory now")
	s.sync()
	if err := s.Stage(t.Context(), next, dir); err != nil {
		t.Fatal(err)
	}
	wantSame(t, listing(t, dir), s.committed(next))
}

func TestStageLeavesAloneWhatIsRight(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.commit("a", "a", "b", "b")
	dir := s.stage(s.sync())
	before, err := os.Stat(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	s.commit("b", "other")
	if err := s.Stage(t.Context(), s.sync(), dir); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(dir, "a"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("a file that did not change was written again (%v)", err)
	}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.commit("a", "a", "dir/b", "b", "dir/c", "c", "con:nul", "x")
	first := s.sync()
	paths := []string{"a", "./a", "dir", "dir/", "dir/b", "dir/c", ".", "con:nul", "nothing", "a/below", "../a"}
	one, err := s.Entries(first, paths)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(s.remote.Dir, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.commit("dir/b", "changed")
	two, err := s.Entries(s.sync(), paths)
	if err != nil {
		t.Fatal(err)
	}
	if want := "0100644 " + s.remote.Git("rev-parse", first.String()+":a"); one["a"] != want {
		t.Errorf("a is %q, want %q", one["a"], want)
	}
	for _, p := range paths {
		absent := p == "nothing" || p == "a/below" || p == "../a"
		if (one[p] == "") != absent {
			t.Errorf("%q is %q", p, one[p])
		}
		changed := !absent && p != "dir/c" && p != "con:nul"
		if (one[p] != two[p]) != changed {
			t.Errorf("%q was %q and is %q", p, one[p], two[p])
		}
	}
}

// A path behind symbolic links has the content of what they lead to.
func TestEntriesBehindLinks(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	for link, target := range map[string]string{
		"conf": "v2", "deep": "conf/sub", "loop": "loop", "out": "../elsewhere", "away": "/etc", "dangling": "nothing",
	} {
		if err := os.Symlink(target, filepath.Join(s.remote.Dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	s.commit("v2/f", "1", "v2/sub/g", "1", "v1/f", "1")
	paths := []string{"conf", "conf/f", "deep", "deep/g", "loop", "out/x", "away", "dangling"}
	one, err := s.Entries(s.sync(), paths)
	if err != nil {
		t.Fatal(err)
	}
	s.commit("v2/f", "2", "v2/sub/g", "2")
	two, err := s.Entries(s.sync(), paths)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range paths {
		if changed := i < 4; (one[p] != two[p]) != changed {
			t.Errorf("%q was %q and is %q", p, one[p], two[p])
		}
		if one[p] == "" {
			t.Errorf("%q has no identity, though a link is there", p)
		}
	}
}

// object stores an object in the local repository.
func (s *setup) object(kind plumbing.ObjectType, content string) Hash {
	s.t.Helper()
	object := &plumbing.MemoryObject{}
	object.SetType(kind)
	if _, err := object.Write([]byte(content)); err != nil {
		s.t.Fatal(err)
	}
	store := s.store()
	defer store.close()
	hash, err := store.SetEncodedObject(object)
	if err != nil {
		s.t.Fatal(err)
	}
	return Hash(hash)
}

// tree stores a tree with entries as "mode name", each followed by its hash.
func (s *setup) tree(entries ...any) Hash {
	var content strings.Builder
	for i := 0; i < len(entries); i += 2 {
		hash := entries[i+1].(Hash)
		fmt.Fprintf(&content, "%s\x00%s", entries[i], hash[:])
	}
	return s.object(plumbing.TreeObject, content.String())
}

func (s *setup) commitTree(tree Hash) Hash {
	return s.object(plumbing.CommitObject, fmt.Sprintf("tree %s\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nm\n", tree))
}

// Trees that no git command would make, but anybody can.
func TestBadCommitsAreRefused(t *testing.T) {
	t.Parallel()
	s := newSetup(t, Limit(1<<20))
	blob := s.object(plumbing.BlobObject, "content")
	large := s.object(plumbing.BlobObject, strings.Repeat("x", 600<<10))
	dir := s.tree("100644 file", blob)
	var many []any
	for i := range 1000 {
		many = append(many, fmt.Sprintf("100644 %d", i), blob)
	}
	bomb := s.tree(many...)
	for range 10 {
		bomb = s.tree("40000 a", bomb, "40000 b", bomb, "40000 c", bomb, "40000 d", bomb, "40000 e", bomb, "40000 f", bomb)
	}
	deep := dir
	for range 16 {
		deep = s.tree("40000 "+strings.Repeat("d", 200), deep)
	}
	for name, c := range map[string]struct {
		tree Hash
		kind error
	}{
		"dot dot":            {s.tree("40000 ..", dir), ErrBadCommit},
		"dot":                {s.tree("100644 .", blob), ErrBadCommit},
		"slash":              {s.tree("100644 ../../escaped", blob), ErrBadCommit},
		"root":               {s.tree("100644 /", blob), ErrBadCommit},
		".git":               {s.tree("40000 .git", dir), ErrBadCommit},
		".GIT below":         {s.tree("40000 a", s.tree("100644 .GIT", blob)), ErrBadCommit},
		"pgo's own":          {s.tree("100644 "+temporary, blob), ErrBadCommit},
		"twice":              {s.tree("100644 a", blob, "100644 a", blob), ErrBadCommit},
		"link and directory": {s.tree("120000 a", s.object(plumbing.BlobObject, "/tmp"), "40000 a", dir), ErrBadCommit},
		"long name":          {s.tree("100644 "+strings.Repeat("n", 256), blob), ErrBadCommit},
		"deep":               {deep, ErrBadCommit},
		"bomb":               {bomb, ErrBadCommit},
		"tree as a file":     {s.tree("100644 a", dir), ErrBadCommit},
		"empty link":         {s.tree("120000 a", s.object(plumbing.BlobObject, "")), ErrBadCommit},
		"long link":          {s.tree("120000 a", large), ErrBadCommit},
		"link with zero":     {s.tree("120000 a", s.object(plumbing.BlobObject, "a\x00b")), ErrBadCommit},
		"one file twice":     {s.tree("100644 a", large, "100644 b", large), ErrTooLarge},
		"missing file":       {s.tree("100644 a", someHash), ErrDamaged},
		"missing tree":       {s.tree("40000 a", someHash), ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			commit := s.commitTree(c.tree)
			for _, write := range []func(string) error{
				func(dir string) error { return s.Stage(t.Context(), commit, dir) },
				func(dir string) error { return s.Switch(t.Context(), nil, commit, dir) },
			} {
				top := t.TempDir()
				err := write(filepath.Join(top, "checkout"))
				wantKind(t, err, c.kind)
				if len(err.Error()) > 5000 {
					t.Errorf("the error has %d bytes", len(err.Error()))
				}
				for name := range listing(t, top) {
					if !strings.HasPrefix(name, "checkout") {
						t.Errorf("%q was written", name)
					}
				}
				if _, err := os.Lstat(filepath.Join(top, "checkout", temporary)); err == nil {
					t.Error("the temporary file is left")
				}
			}
		})
	}
}

func FuzzTreeEntryNames(f *testing.F) {
	for _, name := range []string{"a", "..", ".git", "a/b", "\xff", "con", "a\nb", " ", "a b", "~", strings.Repeat("x", 300)} {
		f.Add(name, "b", uint8(0))
	}
	f.Fuzz(func(t *testing.T, one, two string, modes uint8) {
		if strings.Contains(one+two, "\x00") {
			t.Skip("a zero byte ends a name")
		}
		s := &setup{t: t, dir: filepath.Join(t.TempDir(), "repo.git")}
		s.open(Remote{URL: "file:///nonexistent"})
		kinds := []string{"100644 ", "100755 ", "120000 ", "40000 ", "160000 "}
		blob := s.object(plumbing.BlobObject, "..")
		pick := func(n uint8, name string) (string, Hash) {
			kind := kinds[int(n)%len(kinds)]
			if kind == "40000 " {
				return kind + name, s.tree("100644 "+name, blob)
			}
			return kind + name, blob
		}
		first, firstHash := pick(modes, one)
		second, secondHash := pick(modes/16, two)
		commit := s.commitTree(s.tree(first, firstHash, second, secondHash))

		top := t.TempDir()
		dir := filepath.Join(top, "checkout")
		err := s.Stage(t.Context(), commit, dir)
		for name := range listing(t, top) {
			if name != "checkout" && !strings.HasPrefix(name, "checkout/") {
				t.Errorf("%q was written", name)
			}
		}
		if err != nil {
			wantKind(t, err, ErrBadCommit)
			return
		}
		if err := s.Switch(t.Context(), nil, commit, dir); err != nil {
			t.Errorf("after staging, switching to the same: %v", err)
		}
	})
}
