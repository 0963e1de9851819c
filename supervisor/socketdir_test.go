package supervisor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

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
	if err := makeSocketDir(dir, hclog.New(&hclog.LoggerOptions{Output: &log})); err != nil {
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
