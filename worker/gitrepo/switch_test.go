package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
		t.Error("a directory is another one than before")
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

	// From nowhere: all of the commit.
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
	c.wantInTheWay(c.switchTo(head), "directory/with/data", "file", "link", "new", "was/a/local")
	wantSame(t, listing(t, c.checkout), before)

	for _, name := range []string{"directory/with/data", "file", "link", "new", "was/a/local"} {
		if err := os.Remove(filepath.Join(c.checkout, name)); err != nil {
			t.Fatal(err)
		}
	}
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

// The commit that the checkout is at may be gone, with a repository that was
// damaged and a branch that was rewritten.
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

// interrupted is a context that ends when it has been asked a number of times.
type interrupted struct {
	context.Context
	left *int
}

func (i interrupted) Err() error {
	if *i.left--; *i.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestSwitchAtRandom goes to and fro between random commits, with files of the
// user in between, and compares with what git says is in the commits.
func TestSwitchAtRandom(t *testing.T) {
	t.Parallel()
	const seed, commits, switches = 20, 12, 100
	random := rand.New(rand.NewPCG(seed, 0))
	c := newCheckout(t)
	var history []Hash
	for range commits {
		c.changeAtRandom(random)
		history = append(history, c.commit())
		c.sync()
	}
	trees := map[Hash]map[string]string{}
	for _, h := range history {
		trees[h] = c.committed(h)
	}

	c.mustSwitch(history[commits-1])
	mine := map[string]string{} // what the user has in the checkout
	crashes, obstacles := 0, 0
	for range switches {
		to := history[random.IntN(commits)]
		from := []Hash{c.at}
		c.addAtRandom(random, mine)
		for range random.IntN(3) { // a switch may come to nothing half-way
			half := history[random.IntN(commits)]
			from = append(from, half)
			left := random.IntN(60)
			err := c.Switch(interrupted{t.Context(), &left}, from, half, c.checkout)
			if errors.Is(err, context.Canceled) {
				crashes++
			}
			c.wantMine(mine)
		}

		before := listing(t, c.checkout)
		err := c.Switch(t.Context(), from, to, c.checkout)
		var inTheWay *InTheWayError
		for errors.As(err, &inTheWay) {
			obstacles++
			wantSame(t, listing(t, c.checkout), before)
			for _, p := range inTheWay.Paths {
				if mine[p] == "" {
					t.Fatalf("in the way is %q, which is not the user's", p)
				}
				delete(mine, p)
				if err := os.Remove(filepath.Join(c.checkout, p)); err != nil {
					t.Fatal(err)
				}
			}
			before = listing(t, c.checkout)
			err = c.Switch(t.Context(), from, to, c.checkout)
		}
		if err != nil {
			t.Fatal(err)
		}
		c.at = to
		c.wantMine(mine)
		c.wantTracked(trees[to], mine)
		if t.Failed() {
			t.Fatalf("after switching from %v to %v", from, to)
		}
	}
	t.Logf("%d switches, %d interrupted ones, %d times something was in the way", switches, crashes, obstacles)
	if crashes == 0 || obstacles == 0 {
		t.Error("this was too easy")
	}
}

// wantMine checks that the user's files are all there.
func (c *checkoutTest) wantMine(mine map[string]string) {
	c.t.Helper()
	now := listing(c.t, c.checkout)
	for name, should := range mine {
		if now[name] != should {
			c.t.Fatalf("the user's %q is %q, want %q", name, now[name], should)
		}
	}
}

// wantTracked checks that the checkout holds the tree, the user's files and no
// others.
func (c *checkoutTest) wantTracked(tree, mine map[string]string) {
	c.t.Helper()
	want := maps.Clone(tree)
	maps.Copy(want, mine)
	got := listing(c.t, c.checkout)
	for name, is := range got {
		if is[0] == 'd' { // it may be the user's, too
			want[name] = is
		}
	}
	wantSame(c.t, got, want)
}

var randomNames = []string{"a", "b", "c", "ü\n", "\xff"}

func randomPath(random *rand.Rand) string {
	parts := make([]string, 1+random.IntN(3))
	for i := range parts {
		parts[i] = randomNames[random.IntN(len(randomNames))]
	}
	return strings.Join(parts, "/")
}

// changeAtRandom changes the remote's working tree.
func (c *checkoutTest) changeAtRandom(random *rand.Rand) {
	c.t.Helper()
	for range 12 {
		file := filepath.Join(c.remote.Dir, randomPath(random))
		// A part of the path may be a file or a link: make way.
		for at := filepath.Dir(file); len(at) > len(c.remote.Dir); at = filepath.Dir(at) {
			if info, err := os.Lstat(at); err == nil && !info.IsDir() {
				_ = os.Remove(at)
			}
		}
		err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.RemoveAll(file))
		switch random.IntN(5) {
		case 0: // removed
		case 1:
			err = errors.Join(err, os.Symlink(randomPath(random), file))
		case 2:
			err = errors.Join(err, os.WriteFile(file, []byte("script"), 0o755), os.Chmod(file, 0o755))
		default:
			err = errors.Join(err, os.WriteFile(file, fmt.Append(nil, random.IntN(5)), 0o644))
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// addAtRandom has the user add files and links to the checkout where there is
// room for them.
func (c *checkoutTest) addAtRandom(random *rand.Rand, mine map[string]string) {
	c.t.Helper()
	for range random.IntN(3) {
		name := randomPath(random)
		file := filepath.Join(c.checkout, name)
		if _, err := os.Lstat(file); err == nil {
			continue
		}
		// Reached through a link it would be another path's file.
		real, err := filepath.EvalSymlinks(filepath.Dir(file))
		if err == nil && real != filepath.Dir(file) || os.MkdirAll(filepath.Dir(file), 0o755) != nil {
			continue
		}
		if random.IntN(3) == 0 {
			err = os.Symlink("user's", file)
			mine[name] = "-> user's"
		} else {
			err = os.WriteFile(file, []byte("user's"), 0o600)
			mine[name] = "-rw------- user's"
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}
