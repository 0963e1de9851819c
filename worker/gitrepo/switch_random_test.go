package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// interrupted is a context that ends after it has been asked a number of times.
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

// TestSwitchAtRandom switches back and forth between random commits, with files of the user in
// between, and compares the result with what git says is in the commits.
func TestSwitchAtRandom(t *testing.T) {
	t.Parallel()
	const seed, commits, switches = 20, 12, 60
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
		for range random.IntN(3) { // a switch may stop half-way
			half := history[random.IntN(commits)]
			from = append(from, half)
			left := random.IntN(60)
			err := c.Switch(interrupted{t.Context(), &left}, from, half, c.checkout)
			if errors.Is(err, context.Canceled) {
				crashes++
			}
			c.wantMine(mine)
		}
		if c.switchAndMakeWay(from, to, mine) {
			obstacles++
		}
		c.wantTracked(trees[to], mine)
		if t.Failed() {
			t.Fatalf("after switching from %v to %v", from, to)
		}
	}
	t.Logf("%d switches, %d interrupted ones, %d times something was in the way", switches, crashes, obstacles)
	if crashes == 0 || obstacles == 0 {
		t.Error("no switch was interrupted, or nothing was ever in the way")
	}
}

// switchAndMakeWay switches, removes what of the user's is in the way, and reports whether
// anything was.
func (c *checkoutTest) switchAndMakeWay(from []Hash, to Hash, mine map[string]string) bool {
	c.t.Helper()
	for obstacles := 0; ; obstacles++ {
		before := listing(c.t, c.checkout)
		foreseen := c.foresee(from, to, before)
		err := c.Switch(c.t.Context(), from, to, c.checkout)
		if err == nil {
			c.at = to
			c.wantForeseen(foreseen)
			return obstacles > 0
		}
		var inTheWay *InTheWayError
		if !errors.As(err, &inTheWay) {
			c.t.Fatal(err)
		}
		wantSame(c.t, listing(c.t, c.checkout), before)
		for _, p := range inTheWay.Paths {
			if mine[p] == "" {
				c.t.Fatalf("%q is in the way, and is not the user's", p)
			}
			delete(mine, p)
			if err := os.Remove(filepath.Join(c.checkout, p)); err != nil {
				c.t.Fatal(err)
			}
		}
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

// wantTracked checks that the checkout holds the tree, the user's files and no others.
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

// addAtRandom has the user add files and links to the checkout where there is room for them.
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
