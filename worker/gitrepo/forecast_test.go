package gitrepo

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// onDisk is the Lookup of the present state.
type onDisk struct{}

func (onDisk) Readlink(path string) (string, error) {
	target, err := os.Readlink(path)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return "", nil
	}
	return target, err
}

func (onDisk) Kind(path string) (fs.FileMode, bool, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, false, nil
	}
	return info.Mode().Type(), true, nil
}

// seen is what a Lookup returns for a path.
type seen struct {
	target string
	kind   fs.FileMode
	there  bool
}

func look(t testing.TB, at Lookup, path string) seen {
	t.Helper()
	target, err1 := at.Readlink(path)
	kind, there, err2 := at.Kind(path)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return seen{target, kind, there}
}

// foresee returns what Forecast says about everything that is in the checkout, or could get
// there.
func (c *checkoutTest) foresee(from []Hash, to Hash, now map[string]string) map[string]seen {
	c.t.Helper()
	f, err := c.Forecast(from, to, c.checkout, onDisk{})
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	paths := maps.Clone(now)
	maps.Copy(paths, c.committed(to))
	foreseen := map[string]seen{}
	for name := range paths {
		for ; name != "."; name = filepath.Dir(name) {
			foreseen[name] = look(c.t, f, filepath.Join(c.checkout, name))
		}
	}
	return foreseen
}

// wantForeseen checks that the forecast came true. It skips paths below a symbolic link, which
// nobody asks for: whoever resolves a path follows the link first.
func (c *checkoutTest) wantForeseen(foreseen map[string]seen) {
	c.t.Helper()
	for name, should := range foreseen {
		dir := filepath.Dir(filepath.Join(c.checkout, name))
		if real, err := filepath.EvalSymlinks(dir); err == nil && real != dir {
			continue
		}
		if is := look(c.t, onDisk{}, filepath.Join(c.checkout, name)); is != should {
			c.t.Errorf("%q is %v, but %v was foreseen", name, is, should)
		}
	}
}

// What Switch leaves alone stays as somebody has made it.
func TestForecastOfTheSame(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.mustSwitch(c.commit("conf", "text", "dir/file", "x"))
	conf, dir := filepath.Join(c.checkout, "conf"), filepath.Join(c.checkout, "dir")
	if err := errors.Join(os.Remove(conf), os.Symlink("/srv/conf", conf), os.RemoveAll(dir), os.Symlink("/srv", dir)); err != nil {
		t.Fatal(err)
	}
	head := c.commit("README", "x")
	c.sync()
	f, err := c.Forecast([]Hash{c.at}, head, c.checkout, onDisk{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, want := range map[string]seen{"conf": {"/srv/conf", fs.ModeSymlink, true}, "dir": {"/srv", fs.ModeSymlink, true}, "README": {"", 0, true}} {
		if got := look(t, f, filepath.Join(c.checkout, name)); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestForecast(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.mustSwitch(c.commit("conf/a", "a", "data/schema", "v1", "keep/x", "x", "file", "text"))
	c.put("data/db", "rows")
	c.put("mine", "untracked")
	if err := errors.Join(os.Symlink("/etc", filepath.Join(c.checkout, "way-out")),
		os.RemoveAll(filepath.Join(c.remote.Dir, "conf")), os.RemoveAll(filepath.Join(c.remote.Dir, "data")),
		os.RemoveAll(filepath.Join(c.remote.Dir, "file")), os.Symlink("/etc", filepath.Join(c.remote.Dir, "conf"))); err != nil {
		t.Fatal(err)
	}
	head := c.commit("file/now", "a directory")
	c.sync()
	f, err := c.Forecast([]Hash{c.at}, head, c.checkout, onDisk{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, want := range map[string]seen{
		"conf":        {"/etc", fs.ModeSymlink, true},
		"conf/a":      {}, // below the link itself there is nothing of that name
		"data":        {"", fs.ModeDir, true},
		"data/schema": {},
		"data/db":     {"", 0, true},
		"mine":        {"", 0, true},
		"way-out":     {"/etc", fs.ModeSymlink, true},
		"file":        {"", fs.ModeDir, true},
		"file/now":    {"", 0, true},
		"keep/x":      {"", 0, true},
		"not/there":   {},
	} {
		if got := look(t, f, filepath.Join(c.checkout, name)); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := look(t, f, "/etc"); got != (seen{"", fs.ModeDir, true}) {
		t.Errorf("outside of the checkout: %v", got)
	}
}
