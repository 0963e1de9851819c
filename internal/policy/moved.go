package policy

import "io/fs"

// Lookup is a Links that also reports what is at a path.
type Lookup interface {
	Links
	// Kind returns the type of what is at path, fs.ModeDir for example and 0 for a regular file,
	// and whether there is anything. It follows no symlink.
	Kind(path string) (kind fs.FileMode, there bool, err error)
}

// Moved returns the paths that lead elsewhere after a change than before it, to something of
// another kind, or to nothing any more. In doubt, a path counts as moved. A container that mounts
// such a path must not be started again: it would get what nobody has checked.
func Moved(paths []string, before, after Lookup) []string {
	was, is := &roots{disk: before}, &roots{disk: after}
	var moved []string
	for _, path := range paths {
		if !sameEnd(was, is, path, before, after) {
			moved = append(moved, path)
		}
	}
	return moved
}

func sameEnd(was, is *roots, path string, before, after Lookup) bool {
	from, to := was.resolve(path), is.resolve(path)
	if from.loop || to.loop || from.path != to.path || from.blind != to.blind {
		return false
	}
	if from.blind {
		return true // the way is the same up to there, and git does not touch the rest
	}
	kindBefore, thereBefore, err1 := before.Kind(from.path)
	kindAfter, thereAfter, err2 := after.Kind(to.path)
	return err1 == nil && err2 == nil && kindBefore == kindAfter && thereBefore == thereAfter
}
