package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
)

// socketDirMode lets users enter the directory and not list it.
const socketDirMode = 0o711

// makeSocketDir creates the directory for the workers' sockets, and removes what a killed pgod left
// in it.
func makeSocketDir(dir string, log hclog.Logger) error {
	if err := os.MkdirAll(dir, socketDirMode); err != nil {
		return err
	}
	return emptySocketDir(dir, log)
}

// emptySocketDir removes the sockets of all workers.
func emptySocketDir(dir string, log hclog.Logger) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := removeSockets(filepath.Join(dir, entry.Name())); err != nil {
			log.Warn("cannot remove files that a worker's user has left", "error", loggable(err))
		}
	}
	return nil
}

// maxSockets bounds how many files of one worker's directory are removed.
const maxSockets = 1000

// removeSockets removes a worker's directory and the files in it. Its user may have made a tree
// in it, and may still be adding to it: root takes the directory over first, and deeper levels
// stay. Descending into a tree of any depth would need as many open files.
func removeSockets(dir string) error {
	if err := os.Lchown(dir, os.Geteuid(), os.Getegid()); err != nil {
		return err
	}
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer file.Close()
	names, _ := file.Readdirnames(maxSockets)
	for _, name := range names {
		_ = os.Remove(filepath.Join(dir, name)) // what is left is reported below
	}
	if err := os.Remove(dir); err != nil {
		return fmt.Errorf("%s is not empty: remove it by hand: %w", dir, errors.Unwrap(err))
	}
	return nil
}

// discardSockets removes a worker's directory, or renames it: go-plugin would descend into
// whatever it finds in its place.
func discardSockets(dir string) error {
	elsewhere := dir + ".old"
	switch err := os.Rename(dir, elsewhere); {
	case errors.Is(err, os.ErrNotExist):
		return nil // it was done before
	case err != nil:
		return err
	}
	return removeSockets(elsewhere)
}
