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
	p := &Project{Remembered: filepath.Join(dir, "docker.json")}
	broken := errors.New("broken")
	expect(p, "", os.ErrNotExist, "", 1)
	install("one")
	expect(p, "", broken, "", 1)
	expect(p, "1", nil, "1", 1)
	expect(p, "2", nil, "1", 0)
	expect(&Project{Remembered: p.Remembered}, "2", nil, "1", 0)
	expect(&Project{}, "3", nil, "3", 1)
	install("two")
	expect(p, "2", nil, "2", 1)
	expect(p, "3", nil, "2", 0)
	if err := os.WriteFile(p.Remembered, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(p, "3", nil, "3", 1)
	if err := os.Remove(p.Remembered); err != nil {
		t.Fatal(err)
	}
	expect(&Project{Remembered: filepath.Join(dir, "not", "there")}, "4", nil, "4", 1)
}

// An engine is asked about itself once in a run of it, by all workers of a service.
func TestEngineIsAskedOnce(t *testing.T) {
	asked := 0
	p := &Project{Host: "tcp://x", Remembered: filepath.Join(t.TempDir(), "docker.json")}
	expect := func(p *Project, boot, api string, fails error, times int) {
		t.Helper()
		before := asked
		got, err := p.engineOf(boot, api, func() (Found, error) { asked++; return Found{Engine: boot, API: api}, fails })
		if !errors.Is(err, fails) || err == nil && (got.Engine != boot || got.API != api) || asked-before != times {
			t.Errorf("%s: got %v, %v, and it was asked %d times, not %d", boot, got, err, asked-before, times)
		}
	}
	broken := errors.New("broken")
	expect(p, "one", "1.41", broken, 1)
	expect(p, "one", "1.41", nil, 1)
	expect(p, "one", "1.41", nil, 0)
	expect(&Project{Host: p.Host, Remembered: p.Remembered}, "one", "1.41", nil, 0)
	expect(&Project{Host: "tcp://y", Remembered: p.Remembered}, "one", "1.41", nil, 1)
	expect(p, "one", "1.41", nil, 1)
	expect(p, "two", "1.41", nil, 1)
	expect(p, "two", "1.54", nil, 1)
	expect(p, "two", "1.54", nil, 0)
	expect(&Project{Host: p.Host}, "two", "1.54", nil, 1)
}
