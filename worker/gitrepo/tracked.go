package gitrepo

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// names is a set of paths.
type names map[string]bool

func (n names) names() []string { return slices.Sorted(maps.Keys(n)) }

// trackedFile is the file with the record of a checkout's tracked files: their names, which may
// hold anything but a zero byte, each followed by such a byte.
type trackedFile string

// trackedBeside returns the record of the checkout in dir.
func trackedBeside(dir string) trackedFile {
	return trackedFile(filepath.Clean(dir) + ".tracked")
}

// Lost reports whether the checkout in dir had files of git's and has none of them any more:
// somebody has removed or emptied it.
func (r checkouts) Lost(dir string) bool {
	tracked, _, err := trackedBeside(dir).read()
	if err != nil || len(tracked) == 0 {
		return false
	}
	for name := range tracked {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			return false
		}
	}
	return true
}

// read returns the names, and whether there is a record at all.
func (f trackedFile) read() (tracked names, known bool, err error) {
	text, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return names{}, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	tracked = names{}
	for name := range strings.SplitSeq(string(text), "\x00") {
		if name != "" {
			tracked[name] = true
		}
	}
	return tracked, true, nil
}

func (f trackedFile) write(tracked []string) error {
	slices.Sort(tracked)
	var text strings.Builder
	for _, name := range slices.Compact(tracked) {
		text.WriteString(name + "\x00")
	}
	if old, err := os.ReadFile(string(f)); err == nil && string(old) == text.String() {
		return nil
	}
	return writeFile(string(f), []byte(text.String()))
}
