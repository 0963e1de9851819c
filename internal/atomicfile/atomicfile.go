// Package atomicfile replaces small files so that a crash leaves either the old content or the
// new one. It must not know what is in them.
package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Replace gives the file at path this content and these permissions. It writes nothing if the
// file has both already: on a full disk, what need not change does not fail. The text of an error
// is the same each time, and contains no name of a temporary file.
func Replace(path string, content []byte, perm fs.FileMode) error {
	if has(path, content, perm) {
		return nil
	}
	err := replace(path, content, perm)
	if err == nil {
		return nil
	}
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		err = e.Err
	} else if e := (*os.LinkError)(nil); errors.As(err, &e) {
		err = e.Err
	}
	return fmt.Errorf("cannot write %s: %w", path, err)
}

func replace(path string, content []byte, perm fs.FileMode) error {
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(perm))
	if err != nil {
		return err
	}
	defer func() { _ = file.Cleanup() }()
	if _, err := file.Write(content); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}

func has(path string, content []byte, perm fs.FileMode) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != perm || info.Size() != int64(len(content)) {
		return false
	}
	old, err := os.ReadFile(path)
	return err == nil && bytes.Equal(old, content)
}
