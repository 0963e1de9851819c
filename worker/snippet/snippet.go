// Package snippet writes into a checkout the file that tells a reverse proxy where to send
// requests. A container may be able to change the files of the checkout. The package must
// not know what the snippet says or which proxy reads it.
package snippet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// Write makes content the content of the file name in the directory tree, and reports
// whether it had to change the file. The file is replaced atomically, for whoever has its
// directory mounted. Anyone may read it, since a container may run as any user. Symbolic
// links are neither followed nor replaced. Until the new file is complete it is in the other
// directory, which is on the same file system and which nobody else sees.
func Write(tree, name, beside string, content []byte) (changed bool, err error) {
	dir, err := openDir(tree, path.Dir(name))
	if err != nil {
		return false, cannot(name, err)
	}
	defer dir.Close()
	base := path.Base(name)
	same, err := has(dir, base, content)
	if err != nil || same {
		return false, cannot(name, err)
	}
	if err := put(dir, base, beside, content); err != nil {
		return false, cannot(name, err)
	}
	return true, nil
}

// put makes a file in dir, or replaces it, at once with its content.
func put(dir *os.File, base, beside string, content []byte) error {
	file, err := renameio.NewPendingFile(filepath.Join(beside, "snippet"), renameio.WithTempDir(beside), renameio.WithStaticPermissions(0o644))
	if err != nil {
		return err
	}
	defer func() { _ = file.Cleanup() }()
	if _, err := file.Write(content); err != nil {
		return err
	}
	return errors.Join(file.Sync(), unix.Renameat(unix.AT_FDCWD, file.Name(), int(dir.Fd()), base), dir.Sync())
}

func cannot(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot write %s: %w", name, err)
}

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// openDir opens a directory below tree and creates missing ones on the way. Each directory
// is opened relative to its parent, so that nobody can put a link in between.
func openDir(tree, name string) (*os.File, error) { return walk(tree, name, true) }

// openExisting opens a directory below tree.
func openExisting(tree, name string) (*os.File, error) { return walk(tree, name, false) }

func walk(tree, name string, create bool) (*os.File, error) {
	fd, err := unix.Open(tree, dirFlags, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tree, err)
	}
	at := os.NewFile(uintptr(fd), tree)
	if name == "." {
		return at, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		made := error(unix.EEXIST)
		if create {
			made = unix.Mkdirat(int(at.Fd()), part, 0o755)
		}
		fd, err := unix.Openat(int(at.Fd()), part, dirFlags, 0)
		if err == nil && made == nil {
			err = unix.Fchmod(fd, 0o755) // whatever the umask is
		}
		_ = at.Close()
		if err != nil {
			if fd >= 0 {
				_ = unix.Close(fd)
			}
			return nil, whyNot(part, err)
		}
		at = os.NewFile(uintptr(fd), path.Join(at.Name(), part))
	}
	return at, nil
}

func whyNot(part string, err error) error {
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("%s is not a directory, or is a symbolic link, which pgo does not follow: remove it", part)
	}
	return fmt.Errorf("%s: %w", part, err)
}

// has reports whether the file has that content and everybody can read it. It is an error
// if something other than a regular file is there.
func has(dir *os.File, base string, content []byte) (bool, error) {
	var info unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), base, &info, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, err
	case info.Mode&unix.S_IFMT == unix.S_IFLNK:
		return false, errors.New("it is a symbolic link, which pgo does not follow: remove it")
	case info.Mode&unix.S_IFMT == unix.S_IFDIR:
		return false, errors.New("it is a directory; docker creates one when it mounts a file that does not exist: remove it")
	case info.Mode&unix.S_IFMT != unix.S_IFREG:
		return false, errors.New("it is not a regular file: remove it")
	case info.Size != int64(len(content)), info.Mode&0o777 != 0o644:
		return false, nil
	}
	// By now it may be something else: a link, or a pipe that would block.
	fd, err := unix.Openat(int(dir.Fd()), base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	file := os.NewFile(uintptr(fd), base)
	defer file.Close()
	found, err := io.ReadAll(io.LimitReader(file, int64(len(content))+1))
	return bytes.Equal(found, content), err
}
