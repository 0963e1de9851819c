package supervisor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// A pgod that starts removes the empty directories of killed ones, and none that another one holds,
// also after somebody has removed that and it was made again.
func TestStaleSocketDirs(t *testing.T) {
	below := t.TempDir()
	for _, name := range []string{"dead", "beef/socket", "lives", "f00", "port-2222"} {
		if err := os.MkdirAll(filepath.Join(below, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(below, "dead"), filepath.Join(below, "abc")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(below, "bad"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	held := &socketDir{path: filepath.Join(below, "f00")}
	sweep := func(want string) {
		t.Helper()
		RemoveStaleSocketDirs(below, regexp.MustCompile(`^[0-9a-f]+$`))
		var names []string
		entries, err := os.ReadDir(below)
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		if got := strings.Join(names, " "); got != want || err != nil {
			t.Errorf("there are %s, %v", got, err)
		}
	}
	for range 2 {
		if err := held.hold(); err != nil {
			t.Fatal(err)
		}
		sweep("abc bad beef f00 lives port-2222")
	}
	if err := os.Remove(held.path); err != nil {
		t.Fatal(err)
	}
	if err := held.hold(); err != nil {
		t.Fatal(err)
	}
	sweep("abc bad beef f00 lives port-2222")
	held.mu.Lock()
	held.letGo() // as its end does
	held.mu.Unlock()
	sweep("abc bad beef lives port-2222")
	if err := held.hold(); err != nil {
		t.Fatal(err)
	}
	held.remove(hclog.NewNullLogger())
	sweep("abc bad beef lives port-2222")
}

// A pgod that starts while others remove what killed ones have left holds what it has made.
func TestSocketDirIsHeldInARace(t *testing.T) {
	below, all := t.TempDir(), regexp.MustCompile(`.`)
	ends := make(chan struct{})
	var sweeps sync.WaitGroup
	sweeps.Go(func() {
		for {
			select {
			case <-ends:
				return
			default:
				RemoveStaleSocketDirs(below, all)
			}
		}
	})
	for n := range 200 {
		d := &socketDir{path: filepath.Join(below, fmt.Sprint(n))}
		if err := d.hold(); err != nil {
			t.Error(err)
		}
		if _, err := os.ReadDir(d.path); err != nil {
			t.Error(err)
		}
		d.remove(hclog.NewNullLogger())
	}
	close(ends)
	sweeps.Wait()
}

// What a worker's user has left in its directory is removed with it, except for whole trees:
// these neither keep pgod from starting nor make it descend into them.
func TestSocketDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	for _, name := range []string{"plugin-dir1/socket", "plugin-dir2/d/d/d/d/deep", "file"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/", filepath.Join(dir, "plugin-dir1", "link")); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if err := emptySocketDir(dir, hclog.New(&hclog.LoggerOptions{Output: &log})); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "plugin-dir2" {
		t.Errorf("left: %v, %v", left, err)
	}
	if !strings.Contains(log.String(), "plugin-dir2 is not empty") {
		t.Errorf("the log says %s", &log)
	}

	another := filepath.Join(dir, "plugin-dir3")
	if err := os.MkdirAll(filepath.Join(another, "d", "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := discardSockets(another); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a tree is removed: %v", err)
	}
	if _, err := os.Lstat(another); !os.IsNotExist(err) {
		t.Errorf("go-plugin still finds it: %v", err)
	}
	for n := range maxSockets + 10 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", n)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeSockets(dir); err == nil {
		t.Error("any number of files is removed")
	}
}
