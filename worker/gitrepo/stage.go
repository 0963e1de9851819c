package gitrepo

import (
	"context"
	"path"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// Stage makes dir hold exactly the files of a commit: it removes everything else, and leaves
// alone what is right already. The directory belongs to pgo; for one that holds the data of a
// service there is Switch.
func (r checkouts) Stage(ctx context.Context, commit Hash, dir string) error {
	c, err := r.openCheckout(dir, commit)
	if err != nil {
		return err
	}
	defer c.close()
	want, err := readTree(c.store, commit)
	if err != nil {
		return err
	}
	if err := c.prune(ctx, ".", want); err != nil {
		return err
	}
	for _, name := range want.files() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e := want[name]
		if ok, err := c.has(name, e); err != nil || ok {
			if err != nil {
				return err
			}
			continue
		}
		if err := c.makeDir(path.Dir(name)); err != nil {
			return err
		}
		if err := c.write(name, e); err != nil {
			return err
		}
	}
	return nil
}

// prune removes from a directory what is not in the tree, or is of another kind there.
func (c *checkout) prune(ctx context.Context, dir string, want tree) error {
	entries, err := c.list(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name := path.Join(dir, e.Name())
		_, isFile := want.file(name)
		switch {
		case e.IsDir() && want[name].mode == filemode.Dir:
			if err := c.root.Chmod(name, 0o755); err != nil {
				return err
			}
			if err := c.prune(ctx, name, want); err != nil {
				return err
			}
		case e.IsDir() || !isFile:
			if err := c.root.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}
