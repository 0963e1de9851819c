package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/config"
)

// watched is a configuration that a watcher watches.
type watched struct {
	t       *testing.T
	main    string
	files   []string
	watcher *watcher
	changes chan struct{}
}

func startWatching(t *testing.T, main string, files ...string) *watched {
	t.Helper()
	w := &watched{t, main, files, newWatcher(main, hclog.NewNullLogger()), make(chan struct{}, 1)}
	w.watcher.settle = 20 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	w.watcher.tell(files, time.Now())
	go func() {
		defer close(ended)
		w.watcher.run(ctx, w.changes)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	// A change before the watcher's first look counts as well, since the look comes after the
	// reading.
	w.quiet()
	return w
}

// tells makes a change that must lead to a reload.
func (w *watched) tells(what string, do func()) {
	w.t.Helper()
	do()
	select {
	case <-w.changes:
	case <-time.After(20 * time.Second):
		w.t.Fatalf("no report about %s", what)
	}
	w.quiet()
}

// quiet waits until most likely everything so far was reported. If it was not, that report is
// taken for the next one: the test sees less, and does not fail.
func (w *watched) quiet() {
	for {
		select {
		case <-w.changes:
		case <-time.After(5 * w.watcher.settle):
			return
		}
	}
}

// ignores makes a change that must not lead to a reload: the watcher sees no difference.
func (w *watched) ignores(what string, do func()) {
	w.t.Helper()
	before := see(w.main, w.files)
	do()
	if now := see(w.main, w.files); before.newer(now, time.Time{}) {
		w.t.Errorf("%s leads to a reload: %q, then %q", what, before.prints, now.prints)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

// swap makes the symlink lead elsewhere, in one step.
func swap(t *testing.T, link, target string) {
	t.Helper()
	must(t, os.Symlink(target, link+".new"))
	must(t, os.Rename(link+".new", link))
}

// Each way in which people and their programs change a file.
func TestFileIsWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	main := filepath.Join(dir, "pgo.toml")
	write(t, main, "1")
	w := startWatching(t, main)
	w.tells("a write", func() { write(t, main, "2") })
	w.tells("a write of the same length", func() { write(t, main, "3") })
	w.tells("a rename", func() {
		write(t, main+"~", "4")
		must(t, os.Rename(main+"~", main))
	})
	w.tells("a backup and a new file, as vi does it", func() {
		must(t, os.Rename(main, main+"~"))
		write(t, main, "5")
	})
	w.tells("its mode", func() { must(t, os.Chmod(main, 0o644)) })
	w.tells("its end", func() { must(t, os.Remove(main)) })
	w.tells("its return", func() { write(t, main, "6") })
	w.ignores("another file", func() {
		write(t, filepath.Join(dir, "other.toml"), "x")
		write(t, filepath.Join(dir, ".pgo.toml.swp"), "x")
		must(t, os.Mkdir(filepath.Join(dir, "pgo"), 0o755))
		_, err := os.ReadFile(main)
		must(t, err)
	})
}

// A symlink is followed to its target, through any number of others.
func TestSymlinksAreWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	main := filepath.Join(dir, "etc", "pgo.toml")
	for n := range 4 {
		write(t, fmt.Sprintf("%s/repo/%d/pgo.toml", dir, n), fmt.Sprint(n))
	}
	must(t, os.Mkdir(filepath.Dir(main), 0o755))
	must(t, os.Symlink("0", filepath.Join(dir, "repo/now")))
	must(t, os.Symlink("../repo/now/pgo.toml", main))
	w := startWatching(t, main)
	w.tells("the target's change", func() { write(t, filepath.Join(dir, "repo/0/pgo.toml"), "changed") })
	w.tells("a symlink on the way that is swapped", func() { swap(t, filepath.Join(dir, "repo/now"), "1") })
	w.ignores("a change of what it led to before", func() { write(t, filepath.Join(dir, "repo/0/pgo.toml"), "not any more") })
	w.tells("the new target's change", func() { write(t, filepath.Join(dir, "repo/1/pgo.toml"), "changed") })
	w.tells("the symlink itself", func() { swap(t, main, filepath.Join(dir, "repo/2/pgo.toml")) })
	w.tells("the target's change again", func() { write(t, filepath.Join(dir, "repo/2/pgo.toml"), "changed") })
	w.tells("a directory on the way that is replaced", func() {
		must(t, os.Rename(filepath.Join(dir, "repo/2"), filepath.Join(dir, "repo/old")))
		must(t, os.Rename(filepath.Join(dir, "repo/3"), filepath.Join(dir, "repo/2")))
	})
	w.tells("a change in the one that replaced it", func() { write(t, filepath.Join(dir, "repo/2/pgo.toml"), "changed") })
	w.tells("a loop", func() { swap(t, main, "pgo.toml") })
	w.tells("its end", func() { swap(t, main, "../repo/2/pgo.toml") })
}

// Kubernetes mounts a directory whose files are symlinks through one symlink, and replaces only
// that.
func TestMountOfKubernetesIsWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	main := filepath.Join(dir, "pgo.toml")
	write(t, filepath.Join(dir, "..1", "pgo.toml"), "1")
	must(t, os.Symlink("..1", filepath.Join(dir, "..data")))
	must(t, os.Symlink("..data/pgo.toml", main))
	w := startWatching(t, main)
	for n := 2; n < 5; n++ {
		w.tells("..data", func() {
			write(t, fmt.Sprintf("%s/..%d/pgo.toml", dir, n), fmt.Sprint(n))
			swap(t, filepath.Join(dir, "..data"), fmt.Sprintf("..%d", n))
			must(t, os.RemoveAll(fmt.Sprintf("%s/..%d", dir, n-1)))
		})
	}
}

// The directory of more files comes and goes, and so does its content.
func TestMoreFilesAreWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	main, more := filepath.Join(dir, "pgo.toml"), filepath.Join(dir, "pgo.d")
	write(t, main, "1")
	w := startWatching(t, main)
	w.ignores("an empty directory", func() { must(t, os.Mkdir(more, 0o755)) })
	w.tells("a first file", func() { write(t, filepath.Join(more, "a.toml"), "1") })
	w.tells("a second file", func() { write(t, filepath.Join(more, "b.toml"), "1") })
	w.ignores("what is not read", func() {
		write(t, filepath.Join(more, ".a.toml"), "x")
		write(t, filepath.Join(more, "README"), "x")
	})
	w.tells("a change", func() { write(t, filepath.Join(more, "a.toml"), "2") })
	w.tells("a file that goes", func() { must(t, os.Remove(filepath.Join(more, "b.toml"))) })
	w.tells("the directory that goes", func() { must(t, os.RemoveAll(more)) })
	w.tells("a directory that is a symlink", func() {
		write(t, filepath.Join(dir, "elsewhere", "c.toml"), "1")
		must(t, os.Symlink("elsewhere", more))
	})
	w.tells("a change there", func() { write(t, filepath.Join(dir, "elsewhere", "c.toml"), "2") })
	w.tells("a file that comes there", func() { write(t, filepath.Join(dir, "elsewhere", "d.toml"), "1") })
}

// What the configuration refers to counts as long as it refers to it.
func TestOtherFilesAreWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	main, secret, keys := filepath.Join(dir, "etc/pgo.toml"), filepath.Join(dir, "secrets/deep/token"), filepath.Join(dir, "operator_keys")
	write(t, main, "1")
	write(t, keys, "1")
	w := startWatching(t, main, main, secret, keys)
	w.tells("the operators' keys", func() { write(t, keys, "2") })
	w.tells("a secret that comes to be there", func() { write(t, secret, "1") })
	w.tells("a secret that changes", func() { write(t, secret, "2") })
	w.files = []string{main, keys}
	w.watcher.tell(w.files, time.Now())
	w.ignores("a secret that is used no more", func() { write(t, secret, "3") })
	w.quiet()
	begun := time.Now()
	w.tells("a secret that changed after it was read", func() {
		write(t, secret, "4")
		w.watcher.tell([]string{main, secret}, begun)
	})
}

// What is seen for the first time has changed if it changed since it was read.
func TestWhatIsNewHasChanged(t *testing.T) {
	main := filepath.Join(t.TempDir(), "pgo.toml")
	write(t, main, "1")
	info, err := os.Stat(main)
	must(t, err)
	var nothing sight
	for since, want := range map[time.Duration]bool{-time.Hour: true, 0: true, 2 * tick: false, time.Hour: false} {
		if got := nothing.newer(see(main, nil), info.ModTime().Add(since)); got != want {
			t.Errorf("read %s after the change: %v", since, got)
		}
	}
}

// A file that was written while it was read, or just before, was perhaps read half-written: the main
// file, one of its drop-ins, and a file that the configuration refers to by a symlink.
func TestWhatIsBeingWritten(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.Symlink("keys", path("link")))
	for _, c := range []struct {
		written, main string
		files         []string
		counts        bool
	}{
		{"pgo.toml", path("pgo.toml"), nil, true},
		{"other.d/more.toml", path("other.toml"), nil, true},
		{"another.d/more.txt", path("another.toml"), nil, false},
		{"keys", "", []string{path("link")}, true},
	} {
		write(t, path(c.written), "")
		info, err := os.Stat(path(c.written))
		must(t, err)
		for since, is := range map[time.Duration]bool{-time.Minute: true, 0: true, tick: true, time.Minute: false} {
			if got := writtenSince(info.ModTime().Add(since), c.main, c.files); got != (is && c.counts) {
				t.Errorf("%s, read %s after it was written: %v", c.written, since, got)
			}
		}
	}
}

// A file that is never quiet is reported all the same.
func TestRestlessFileIsTold(t *testing.T) {
	t.Parallel()
	main := filepath.Join(t.TempDir(), "pgo.toml")
	write(t, main, "0")
	w := startWatching(t, main)
	end := time.After(20 * time.Second)
	for n := 1; ; n++ {
		write(t, main, strings.Repeat("x", n))
		select {
		case <-w.changes:
			return
		case <-end:
			t.Fatal("no report")
		case <-time.After(w.watcher.settle / 10):
		}
	}
}

func TestTrace(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	write(t, dir+"/a/b/file", "")
	must(t, os.Symlink("../a/./b", dir+"/a/up"))
	must(t, os.Symlink(dir+"/a", dir+"/whole"))
	must(t, os.Symlink("loop", dir+"/loop"))
	base := trace(dir)
	for path, want := range map[string][]string{
		"a/b/file":        {"a", "a/b", "a/b/file"},
		"a/../a/b//file/": {"a", "a", "a/b", "a/b/file"},
		"a/up/file":       {"a", "a/up", "a", "a/b", "a/b/file"},
		"none/file":       {"none"},
	} {
		got := trace(dir + "/" + path)[len(base):]
		for n := range want {
			want[n] = filepath.Join(dir, want[n])
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %q, not %q", path, got, want)
		}
	}
	if got := trace(dir + "/whole/b"); got[len(got)-1] != dir+"/a/b" {
		t.Errorf("an absolute one leads to %q", got)
	}
	if got := trace(dir + "/loop"); len(got) > 100 {
		t.Errorf("a loop has %d steps", len(got))
	}
}

// At the start, another name of the host must not take everything down.
func TestWhatIsKeptAtTheStart(t *testing.T) {
	here, named := config.Service{Name: "here"}, config.Service{Name: "named", Machine: []string{"host1"}}
	for _, test := range []struct {
		services  []config.Service
		elsewhere []string
		spared    string
	}{
		{nil, nil, "[]"},
		{[]config.Service{here}, nil, "[]"},
		{nil, []string{"a", "b"}, "[a b]"},
		{[]config.Service{here}, []string{"a"}, "[a]"},
		{[]config.Service{here, named}, []string{"a"}, "[]"},
	} {
		spared := loaded{Config: &config.Config{Services: test.services, Elsewhere: test.elsewhere}}.spared()
		if fmt.Sprint(spared) != test.spared {
			t.Errorf("%+v: %v", test, spared)
		}
	}
}
