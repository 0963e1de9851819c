package snippet

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// Switch makes a file called want, which is empty, the only one in the directory name of the tree;
// if want is "", there is none then. Whoever reads the directory meanwhile finds either what was
// there or what is wanted. Symbolic links are not followed.
func Switch(tree, name, want string) error {
	dir, err := openDir(tree, name)
	if err != nil {
		return cannot(name, err)
	}
	defer dir.Close()
	return cannot(name, turn(dir, want))
}

func turn(dir *os.File, want string) error {
	there, err := names(dir)
	if err != nil {
		return err
	}
	if want != "" && !slices.Contains(there, want) {
		if len(there) > 0 {
			err = unix.Renameat(int(dir.Fd()), there[0], int(dir.Fd()), want)
			there = there[1:]
		} else {
			err = touch(dir, want)
		}
	}
	for _, other := range there {
		if other != want {
			err = errors.Join(err, unix.Unlinkat(int(dir.Fd()), other, 0))
		}
	}
	return errors.Join(err, dir.Sync())
}

// touch makes an empty file that anyone may see.
func touch(dir *os.File, name string) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fchmod(fd, 0o644), unix.Close(fd))
}

// Switches returns what is switched below the directory name of the tree: the file in each directory
// of a directory, by the names of these two.
func Switches(tree, name string) (map[[2]string]string, error) {
	found := map[[2]string]string{}
	top, err := openExisting(tree, name)
	if errors.Is(err, unix.ENOENT) {
		return found, nil
	}
	if err != nil {
		return nil, cannot(name, err)
	}
	defer top.Close()
	groups, err := names(top)
	for _, group := range groups {
		err = errors.Join(err, within(top, group, func(dir *os.File, members []string) error {
			for _, member := range members {
				err := within(dir, member, func(_ *os.File, files []string) error {
					found[[2]string{group, member}] = ""
					if len(files) > 0 {
						found[[2]string{group, member}] = files[0]
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return found, cannot(name, err)
}

// within calls do with a directory in dir, and what is in it, sorted.
func within(dir *os.File, name string, do func(*os.File, []string) error) error {
	fd, err := unix.Openat(int(dir.Fd()), name, dirFlags, 0)
	if err != nil {
		return whyNot(name, err)
	}
	inner := os.NewFile(uintptr(fd), path.Join(dir.Name(), name))
	defer inner.Close()
	all, err := names(inner)
	if err != nil {
		return err
	}
	return do(inner, all)
}

// most bounds what is read of a directory.
const most = 10_000

// names returns what is in a directory, sorted.
func names(dir *os.File) ([]string, error) {
	if _, err := dir.Seek(0, 0); err != nil {
		return nil, err
	}
	all, err := dir.Readdirnames(most + 1)
	if len(all) > most {
		return nil, fmt.Errorf("there are more than %d files", most)
	}
	slices.Sort(all)
	if len(all) == 0 {
		return nil, nil // instead of io.EOF
	}
	return all, err
}
