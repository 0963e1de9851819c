package gitrepo

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgo/internal/gittest"
)

// module makes a repository next to the remote one, with a commit for each file, given as names
// and contents in turn, and returns it and its last commit.
func (s *setup) module(name string, files ...string) (*gittest.Repo, Hash) {
	s.t.Helper()
	repo := gittest.NewRepo(s.t, filepath.Join(s.root, name))
	for i := 0; i < len(files); i += 2 {
		repo.Write(files[i], files[i+1])
		repo.Commit("a commit")
	}
	return repo, hashOf(repo.Git("rev-parse", "HEAD"))
}

// addModule adds a commit of another repository to a repository as a submodule, with the next
// commit.
func addModule(repo *gittest.Repo, path, url string, commit Hash) {
	if err := os.MkdirAll(filepath.Join(repo.Dir, path), 0o755); err != nil {
		panic(err)
	}
	repo.Git("config", "--file", ".gitmodules", "submodule."+path+".path", path)
	repo.Git("config", "--file", ".gitmodules", "submodule."+path+".url", url)
	repo.Git("update-index", "--add", "--cacheinfo", "160000,"+commit.String()+","+path)
}

// syncModules syncs, and fetches the submodules of the head.
func (s *setup) syncModules() Hash {
	s.t.Helper()
	head := s.sync()
	if err := s.FetchSubmodules(s.t.Context(), head); err != nil {
		s.t.Fatal(err)
	}
	return head
}

// missing returns what the head lacks of paths, without anything else.
func (s *setup) missing(paths ...string) []Missing {
	s.t.Helper()
	head, _ := s.Head()
	missing, err := s.Missing(s.t.Context(), head, paths)
	if err != nil {
		s.t.Fatal(err)
	}
	return missing
}

// A submodule may be at a commit that is not the newest of a branch.
func TestSubmodulesOverEveryWay(t *testing.T) {
	t.Parallel()
	for name, serve := range ways {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			lib, first := s.module("lib", "conf/lib.conf", "1")
			lib.Write("conf/lib.conf", "2")
			second := hashOf(lib.Commit("another"))
			lib.Write("newest", "")
			third := hashOf(lib.Commit("newest"))
			remote, opts := serve(t, s)
			s.open(remote, opts...)

			addModule(s.remote, "vendor/lib", "../lib", third)
			s.commit("compose.yaml", "services: {}")
			s.syncModules()
			s.wantStaged("compose.yaml", "services: {}", "vendor/lib/conf/lib.conf", "2", "vendor/lib/newest", "")

			for content, c := range map[string]Hash{"1": first, "2": second} {
				addModule(s.remote, "vendor/lib", "../lib", c)
				s.commit()
				head := s.sync()
				err := s.FetchSubmodules(t.Context(), head)
				if name == "http, version 0" { // it gives out only the commits of branches and tags
					wantKind(t, err, ErrSubmodule)
					wantKind(t, err, ErrMoved)
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				s.wantStaged("vendor/lib/conf/lib.conf", content)
			}
			s.wantSound()
		})
	}
}

// Everything that works on trees works on those of submodules.
func TestSubmodulesArePartOfTheTree(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	inner, innerCommit := c.module("inner", "deep", "1")
	lib, _ := c.module("lib", "a", "1", "b", "1", "ssh/key.pub", line(newEd25519(t)))
	addModule(lib, "in ner", "./../inner/", innerCommit)
	if err := os.Symlink("../../..", filepath.Join(lib.Dir, "link")); err != nil {
		t.Fatal(err)
	}
	first := hashOf(lib.Commit("nested"))
	addModule(c.remote, "lib", "../lib", first)
	head := c.commit("compose.yaml", "services: {}")
	c.syncModules()

	want := c.committed(head)
	want["lib"], want["lib/in ner"] = "drwxr-xr-x", "drwxr-xr-x"
	for name, is := range (&setup{t: t, remote: lib}).committed(first) {
		want["lib/"+name] = is
	}
	want["lib/in ner/deep"] = "-rw-r--r-- 1"
	wantSame(t, listing(t, c.stage(head)), want)
	c.mustSwitch(head)
	wantSame(t, listing(t, c.checkout), want)

	paths := []string{"lib", "lib/a", "lib/b", "lib/in ner/deep", "lib/in ner", "lib/nothing", "."}
	one, err := c.Entries(head, paths)
	if err != nil {
		t.Fatal(err)
	}
	if one["lib"] != "0160000 "+first.String() || one["lib/a"] == "" || one["lib/in ner/deep"] == "" || one["lib/nothing"] != "" {
		t.Errorf("the entries are %q", one)
	}

	// Another commit of both: only what differs is written.
	c.put("lib/b", "edited by hand")
	c.put("lib/data/mine", "mine")
	inner.Write("deep", "2")
	addModule(lib, "in ner", "../inner", hashOf(inner.Commit("2")))
	lib.Write("a", "2")
	addModule(c.remote, "lib", "../lib", hashOf(lib.Commit("2")))
	head = c.commit()
	c.syncModules()
	c.mustSwitch(head)
	for name, content := range map[string]string{"a": "2", "b": "edited by hand", "in ner/deep": "2", "data/mine": "mine"} {
		wantFile(t, content, c.checkout, "lib", name)
	}
	two, err := c.Entries(head, paths)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		if changed := p != "lib/b" && p != "lib/nothing"; (one[p] != two[p]) != changed {
			t.Errorf("%q was %q and is %q", p, one[p], two[p])
		}
	}

	// And without submodules: the user's file stays.
	c.remote.Git("rm", "--quiet", "--cached", "lib")
	c.remote.Git("rm", "--quiet", "--force", ".gitmodules")
	c.remote.Git("commit", "--quiet", "--message=without")
	if err := os.RemoveAll(filepath.Join(c.remote.Dir, "lib")); err != nil {
		t.Fatal(err)
	}
	c.mustSwitch(c.tip())
	got := listing(t, c.checkout)
	if got["lib/data/mine"] == "" || got["lib/a"] != "" || got["lib/in ner"] != "" {
		t.Errorf("the checkout holds %q", got)
	}
	c.wantSound()
}

// Only the repository's own keys count.
func TestKeysOfSubmodulesDoNotCount(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	_, keys := s.module("keys", "mallory.pub", line(newEd25519(t)), "sub/ssh/mallory.pub", line(newEd25519(t)))
	addModule(s.remote, "ssh", "../keys", keys)
	s.commit()
	got, _, err := s.Keys(s.syncModules())
	if err != nil || len(got) != 0 {
		t.Errorf("Keys() = %v, %v for a submodule at ssh", got, err)
	}
	s.remote.Git("rm", "--quiet", "--cached", "ssh")
	addModule(s.remote, "ssh/mallory.pub", "../keys", keys)
	s.commit()
	got, _, err = s.Keys(s.syncModules())
	if err != nil || len(got) != 0 {
		t.Errorf("Keys() = %v, %v for a submodule in ssh", got, err)
	}
}

// A submodule that cannot be fetched does not affect anything else.
func TestUnreachableSubmodule(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	_, there := s.module("there", "file", "1")
	addModule(s.remote, "gone", "../gone", someHash)
	addModule(s.remote, "there", "../there", there)
	key := newEd25519(t)
	s.commit("compose.yaml", "services: {}", "ssh/ada.pub", line(key))
	s.open(Remote{URL: gittest.HTTP(t, s.root, "") + "/app"})
	head := s.sync()
	if got := s.missing("gone"); len(got) != 1 || got[0].String() != `"gone" is a submodule that has not been fetched yet` {
		t.Errorf("Missing() = %v", got)
	}
	err := s.FetchSubmodules(t.Context(), head)
	wantKind(t, err, ErrSubmodule)
	wantKind(t, err, ErrNotFound)
	why := "cannot be fetched from " + strings.TrimSuffix(s.url, "/app") + "/gone: there is no such repository, or the token or the deploy key of `repository` may not read it"
	if err.Error() != `cannot fetch the submodule "gone": it `+why {
		t.Errorf("the error is %q", err)
	}
	if keys, _, err := s.Keys(head); err != nil || len(keys) != 1 {
		t.Errorf("Keys() = %v, %v", keys, err)
	}
	got := listing(t, s.stage(head))
	if _, ok := got["gone"]; ok || got["there/file"] == "" || got["compose.yaml"] == "" {
		t.Errorf("the stage holds %q", got)
	}
	if entries, err := s.Entries(head, []string{"gone", "gone/file"}); err != nil || entries["gone"] == "" || entries["gone/file"] != "" {
		t.Errorf("Entries() = %q, %v", entries, err)
	}
	want := []Missing{{Path: "gone", Why: "is a submodule that " + why}}
	for _, paths := range [][]string{{"."}, {"gone"}, {"gone/file"}, {"there", "gone", "gone/x/y"}, {"./gone/"}} {
		if got := s.missing(paths...); len(got) != 1 || got[0] != want[0] {
			t.Errorf("Missing(%q) = %v", paths, got)
		}
	}
	if got := s.missing("there", "compose.yaml", "nothing", "go", "gone.not"); got != nil {
		t.Errorf("Missing() = %v", got)
	}

	// Once it exists, it is fetched.
	_, gone := s.module("gone", "file", "2")
	addModule(s.remote, "gone", "../gone", gone)
	s.commit()
	s.syncModules()
	s.wantStaged("gone/file", "2")
	if got := s.missing("."); got != nil {
		t.Errorf("Missing() = %v", got)
	}
}

// What is here need not be fetched, not even after a restart.
func TestFetchSubmodulesAgainAsksNobody(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	lib, commit := s.module("lib", "file", "1")
	addModule(s.remote, "lib", "../lib", commit)
	s.commit()
	head := s.syncModules()
	if err := os.RemoveAll(lib.Dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.FetchSubmodules(t.Context(), head); err != nil {
			t.Error(err)
		}
		s.wantStaged("lib/file", "1")
		s.open(s.asDirectory())
	}
	if err := s.Rebuild(); err != nil {
		t.Fatal(err)
	}
	s.sync()
	wantKind(t, s.FetchSubmodules(t.Context(), head), ErrSubmodule)
	if got := s.missing("lib"); len(got) != 1 {
		t.Errorf("Missing() = %v after a rebuild", got)
	}
	_, err := s.Commit(someHash)
	wantKind(t, err, ErrNoCommit)
	wantKind(t, s.FetchSubmodules(t.Context(), someHash), ErrNoCommit)
}

// Submodules are kept as long as the commits that have them.
func TestSubmodulesAreKept(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.slack = slack{factor: 1}
	lib, old := s.module("lib", "large", noise(100<<10))
	addModule(s.remote, "lib", "../lib", old)
	kept := s.commit()
	s.syncModules()
	s.keep(kept)
	lib.Git("rm", "--quiet", "large")
	lib.Write("small", "1")
	addModule(s.remote, "lib", "../lib", hashOf(lib.Commit("small")))
	s.commit()
	head := s.syncModules()

	s.mustCompact()
	if got := listing(t, s.stage(kept)); got["lib/large"] == "" {
		t.Errorf("the stage of the kept commit has %v", maps.Keys(got))
	}
	s.wantStaged("lib/small", "1")
	s.wantSound()
	s.keep(head)
	s.mustCompact()
	if used, loose := s.used(); used > 64<<10 || loose > 0 || s.heldModules().have(old) || len(s.heldModules()) != 1 {
		t.Errorf("%d bytes and %d loose objects are left, and the submodules %v", used, loose, s.heldModules())
	}
	s.open(s.asDirectory())
	s.wantStaged("lib/small", "1")
	s.wantSound()
}

// A damaged submodule is fetched again, and the rest stays as it is.
func TestDamagedSubmodule(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	lib, first := s.module("lib", "file", "1")
	addModule(s.remote, "lib", "../lib", first)
	s.commit()
	s.syncModules()
	lib.Write("file", "2")
	addModule(s.remote, "lib", "../lib", hashOf(lib.Commit("2")))
	s.commit()
	head := s.syncModules() // in loose objects; the first came as a pack
	blob := lib.Git("rev-parse", "HEAD:file")
	if err := os.Remove(filepath.Join(s.dir, "objects", blob[:2], blob[2:])); err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.Stage(t.Context(), head, filepath.Join(t.TempDir(), "stage")), ErrDamaged)
	s.open(s.asDirectory())
	if got, ok := s.Head(); !ok || got != head || s.Rebuilt() != nil {
		t.Errorf("the head is %v, %v (rebuilt: %v)", got, ok, s.Rebuilt())
	}
	if got := s.missing("lib"); len(got) != 1 {
		t.Errorf("Missing() = %v", got)
	}
	s.syncModules()
	s.wantStaged("lib/file", "2")
	s.wantSound()
}
