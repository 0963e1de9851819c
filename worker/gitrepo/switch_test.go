package gitrepo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// checkoutTest is a setup with a checkout, which is at the commit at.
type checkoutTest struct {
	*setup
	checkout string
	at       Hash
}

func newCheckout(t testing.TB) *checkoutTest {
	return &checkoutTest{setup: newSetup(t), checkout: filepath.Join(t.TempDir(), "checkout")}
}

// switchTo syncs and switches to the head.
func (c *checkoutTest) switchTo(head Hash) error {
	c.t.Helper()
	c.sync()
	var from []Hash
	if !c.at.IsZero() {
		from = append(from, c.at)
	}
	err := c.Switch(c.t.Context(), from, head, c.checkout)
	if err == nil {
		c.at = head
	}
	return err
}

func (c *checkoutTest) mustSwitch(head Hash) {
	c.t.Helper()
	if err := c.switchTo(head); err != nil {
		c.t.Fatal(err)
	}
}

// put writes a file of the checkout that git does not track.
func (c *checkoutTest) put(name, content string) {
	c.t.Helper()
	file := filepath.Join(c.checkout, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(content), 0o600)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *checkoutTest) wantInTheWay(err error, paths ...string) {
	c.t.Helper()
	var inTheWay *InTheWayError
	if !errors.As(err, &inTheWay) || !slices.Equal(inTheWay.Paths, paths) {
		c.t.Fatalf("the error is %v, want one that names %q", err, paths)
	}
}

func TestSwitchWritesTheFirstCommit(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	head := c.strange()
	c.mustSwitch(head)
	wantSame(t, listing(t, c.checkout), c.committed(head))
}

func TestSwitchKeepsWhatIsNotTracked(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.mustSwitch(c.commit(".gitignore", "*.db", "data/schema.sql", "v1", "conf/a", "a", "gone/file", "x"))
	inode := func(name string) uint64 {
		info, err := os.Stat(filepath.Join(c.checkout, name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Ino
	}
	top, data, conf := inode("."), inode("data"), inode("conf")
	c.put("data/ignored.db", "ignored")
	c.put("data/untracked", "untracked")
	c.put("gone/local", "local")
	c.put(".env", "SECRET=1")

	c.remote.Git("rm", "--quiet", "-r", "data/schema.sql", "conf/a", "gone")
	c.mustSwitch(c.commit("conf/b", "b", "data/new.sql", "v2"))

	want := c.committed(c.at)
	want["data/ignored.db"], want["data/untracked"] = "-rw------- ignored", "-rw------- untracked"
	want["gone"], want["gone/local"] = "drwxr-xr-x", "-rw------- local"
	want[".env"] = "-rw------- SECRET=1"
	wantSame(t, listing(t, c.checkout), want)
	if inode(".") != top || inode("data") != data || inode("conf") != conf {
		t.Error("a directory was replaced")
	}
}

func TestSwitchOverwritesOnlyWhatDiffers(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.mustSwitch(c.commit("changes", "1", "stays", "1", "goes", "1"))
	for _, name := range []string{"changes", "stays", "goes"} {
		c.put(name, "edited by hand")
	}
	c.remote.Git("rm", "--quiet", "goes")
	c.mustSwitch(c.commit("changes", "2"))
	wantFile(t, "2", c.checkout, "changes")
	wantFile(t, "edited by hand", c.checkout, "stays")
	if _, err := os.Lstat(filepath.Join(c.checkout, "goes")); err == nil {
		t.Error("a file that the new commit does not have is still there")
	}

	// From nowhere: everything in the commit.
	if err := c.Switch(t.Context(), nil, c.at, c.checkout); err != nil {
		t.Fatal(err)
	}
	wantFile(t, "1", c.checkout, "stays")
}

func TestSwitchChangesKinds(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	kinds := []func(name string){
		func(name string) { c.remote.Write(name, "a file") },
		func(name string) { c.remote.Write(name+"/in/it", "a directory") },
		func(name string) {
			if err := os.Symlink("../..", filepath.Join(c.remote.Dir, name)); err != nil {
				t.Fatal(err)
			}
		},
		func(name string) {
			c.remote.Write(name, "a script")
			if err := os.Chmod(filepath.Join(c.remote.Dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		},
		func(string) {},
	}
	for from, makeFrom := range kinds {
		for to := range kinds {
			makeFrom(fmt.Sprintf("%d-%d", from, to))
		}
	}
	c.mustSwitch(c.commit())
	wantSame(t, listing(t, c.checkout), c.committed(c.at))
	for from := range kinds {
		for to, makeTo := range kinds {
			name := fmt.Sprintf("%d-%d", from, to)
			if err := os.RemoveAll(filepath.Join(c.remote.Dir, name)); err != nil {
				t.Fatal(err)
			}
			makeTo(name)
		}
	}
	c.mustSwitch(c.commit())
	wantSame(t, listing(t, c.checkout), c.committed(c.at))
}

func TestSwitchFindsWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.mustSwitch(c.commit("README", "1", "was/a/directory", "1"))
	c.put("new", "mine")
	c.put("same", "the same")
	c.put("file", "mine")
	c.put("directory/with/data", "mine")
	c.put("was/a/local", "mine")
	c.put("elsewhere/data", "mine")
	if err := os.Symlink("elsewhere", filepath.Join(c.checkout, "link")); err != nil {
		t.Fatal(err)
	}
	before := listing(t, c.checkout)

	c.remote.Git("rm", "--quiet", "-r", "was")
	head := c.commit("README", "2", "new", "theirs", "same", "the same", "file/in/it", "theirs",
		"directory", "theirs", "was", "a file now", "link/data", "theirs")
	c.sync()
	c.wantInTheWay(c.CanSwitch(t.Context(), []Hash{c.at}, head, c.checkout), "directory/with/data", "file", "link", "new", "was/a/local")
	c.wantInTheWay(c.switchTo(head), "directory/with/data", "file", "link", "new", "was/a/local")
	wantSame(t, listing(t, c.checkout), before)

	for _, name := range []string{"directory/with/data", "file", "link", "new", "was/a/local"} {
		if err := os.Remove(filepath.Join(c.checkout, name)); err != nil {
			t.Fatal(err)
		}
	}
	now := listing(t, c.checkout)
	if err := c.CanSwitch(t.Context(), []Hash{c.at}, head, c.checkout); err != nil {
		t.Error(err)
	}
	wantSame(t, listing(t, c.checkout), now)
	c.mustSwitch(head)
	want := c.committed(head)
	want["elsewhere"], want["elsewhere/data"] = before["elsewhere"], before["elsewhere/data"]
	wantSame(t, listing(t, c.checkout), want)
}

// A user may have put a directory or a link where a tracked file or directory was.
func TestSwitchRemovesOnlyWhatWasTracked(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.mustSwitch(c.commit("file", "1", "dir/file", "1", "keep", "1"))
	c.put("elsewhere/file", "mine")
	for _, err := range []error{
		os.Remove(filepath.Join(c.checkout, "file")),
		os.RemoveAll(filepath.Join(c.checkout, "dir")),
		os.Symlink("elsewhere", filepath.Join(c.checkout, "dir")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c.put("file/data", "mine")
	before := listing(t, c.checkout)
	c.remote.Git("rm", "--quiet", "-r", "file", "dir")
	c.mustSwitch(c.commit())
	wantSame(t, listing(t, c.checkout), before)
}

// The commit that the checkout is at may be gone, after the repository was damaged and the branch
// rewritten.
func TestSwitchFromALostCommit(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.mustSwitch(c.commit("changes", "1", "goes", "1"))
	c.put("mine", "mine")
	c.remote.Git("rm", "--quiet", "goes")
	c.remote.Git("commit", "--quiet", "--amend", "--message=rewritten")
	head := c.commit("changes", "2")
	if err := c.Rebuild(); err != nil {
		t.Fatal(err)
	}
	lost := c.at
	c.mustSwitch(head)
	want := c.committed(head)
	want["mine"] = "-rw------- mine"
	wantSame(t, listing(t, c.checkout), want)

	if err := os.Remove(c.checkout + ".tracked"); err != nil {
		t.Fatal(err)
	}
	wantKind(t, c.Switch(t.Context(), []Hash{lost}, head, c.checkout), ErrNoCommit)
}
