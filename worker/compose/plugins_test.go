package compose

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A plugin is asked for its version once, by all workers of a service, until its file is another one.
func TestVersionIsAskedOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "docker-compose")
	install := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	asked := 0
	expect := func(p *Project, says string, fails error, want string, times int) {
		t.Helper()
		before := asked
		got, err := p.versionOf(path, func() (string, error) { asked++; return says, fails })
		if got != want || !errors.Is(err, fails) || asked-before != times {
			t.Errorf("got %q, %v, and it was asked %d times; want %q, %v, %d", got, err, asked-before, want, fails, times)
		}
	}
	p := &Project{Versions: filepath.Join(dir, "plugins.json")}
	broken := errors.New("broken")
	expect(p, "", os.ErrNotExist, "", 1)
	install("one")
	expect(p, "", broken, "", 1)
	expect(p, "1", nil, "1", 1)
	expect(p, "2", nil, "1", 0)
	expect(&Project{Versions: p.Versions}, "2", nil, "1", 0)
	expect(&Project{}, "3", nil, "3", 1)
	install("two")
	expect(p, "2", nil, "2", 1)
	expect(p, "3", nil, "2", 0)
	if err := os.WriteFile(p.Versions, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(p, "3", nil, "3", 1)
	if err := os.Remove(p.Versions); err != nil {
		t.Fatal(err)
	}
	expect(&Project{Versions: filepath.Join(dir, "not", "there")}, "4", nil, "4", 1)
}
