package snippet

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// note is what is in a switch, for a person, and for Caddy if it imports everything there: 2.6 does not
// accept an empty file.
const note = "# Written by pgo during a deploy: requests go to the container of this name.\n"

// Switch makes a file called prefix and want the only one in the directory name of the tree whose name
// begins with prefix; if want is "", there is none then. Whoever reads the directory meanwhile finds
// either what was there or what is wanted. Symbolic links are not followed. See Write about the other
// directory.
func Switch(tree, name, beside, prefix, want string) error {
	dir, err := openDir(tree, name)
	if err != nil {
		return cannot(path.Join(name, prefix), err)
	}
	defer dir.Close()
	return cannot(path.Join(name, prefix), turn(dir, beside, prefix, want))
}

func turn(dir *os.File, beside, prefix, want string) error {
	there, err := names(dir, prefix)
	if err != nil {
		return err
	}
	if want != "" && !slices.Contains(there, want) {
		if len(there) > 0 {
			err = unix.Renameat(int(dir.Fd()), prefix+there[0], int(dir.Fd()), prefix+want)
			there = there[1:]
		} else {
			err = put(dir, prefix+want, beside, []byte(note))
		}
	}
	for _, other := range there {
		if other != want {
			err = errors.Join(err, unix.Unlinkat(int(dir.Fd()), prefix+other, 0))
		}
	}
	return errors.Join(err, dir.Sync())
}

// Switches returns the names that begin with prefix in the directory of that name in the tree,
// without the prefix and sorted.
func Switches(tree, name, prefix string) ([]string, error) {
	dir, err := openExisting(tree, name)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, cannot(path.Join(name, prefix), err)
	}
	defer dir.Close()
	found, err := names(dir, prefix)
	return found, cannot(path.Join(name, prefix), err)
}

// most bounds what is read of a directory.
const most = 10_000

// names returns what begins with prefix in a directory, without the prefix and sorted.
func names(dir *os.File, prefix string) ([]string, error) {
	if _, err := dir.Seek(0, 0); err != nil {
		return nil, err
	}
	all, err := dir.Readdirnames(most + 1)
	if len(all) > most {
		return nil, fmt.Errorf("there are more than %d files", most)
	}
	if len(all) == 0 {
		return nil, nil // instead of io.EOF
	}
	var found []string
	for _, name := range all {
		if rest, is := strings.CutPrefix(name, prefix); is {
			found = append(found, rest)
		}
	}
	slices.Sort(found)
	return found, err
}
