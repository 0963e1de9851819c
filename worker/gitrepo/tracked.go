package gitrepo

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
