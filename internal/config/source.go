package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"pgo/internal/dropin"
	"pgo/internal/printable"
	"pgo/internal/tomllines"
)

// These limits are far above any sensible configuration. They keep a wrong path harmless, and a
// file that somebody else wrote to a repository.
const (
	maxFile     = 1 << 20
	maxServices = 5000 // of all files and machines
	maxProblems = 1000 // and as many warnings
	maxEntries  = 1000 // of each list, of a service's urls, and of their targets

	// maxTogether limits the URLs, the targets and the ranges of ports of all services of this
	// host, each in total: every worker is told those of all other services.
	maxTogether = 10000

	// maxTold limits the services of this host times their targets and ranges of ports: pgod
	// keeps those of the other services for each service.
	maxTold = 5000000
)

// source is one configuration file.
type source struct {
	path   string
	text   string
	dropin bool // from dropin.Dir: it may define only services
	public bool // users other than the owner can read it
	remote bool // from git, where others can read it too
}

// maxRemote limits the files from git. Local files need no limit: root wrote them.
const maxRemote = 1000

// readSources reads the local files, if path is not empty, and then those from git.
func readSources(path string, files []File) (sources []source, looked []string, problems Problems) {
	if path != "" {
		sources, looked, problems = readLocal(path)
	} else if len(files) == 0 {
		problems = append(problems, Problem{Message: "no configuration"})
	}
	if len(files) > maxRemote {
		problems = append(problems, problemOf(printable.Line(files[0].Path), 0, fmt.Errorf("%d files, of which only the first %d are read", len(files), maxRemote)))
		files = files[:maxRemote]
	}
	for i, file := range files {
		s := source{path: printable.Line(file.Path), text: string(file.Content), dropin: i > 0, public: true, remote: true}
		if len(file.Content) > maxFile {
			problems = append(problems, problemOf(s.path, 0, errTooLarge))
			continue
		}
		sources = append(sources, s)
	}
	return sources, looked, problems
}

// readLocal reads the file at path and those in its dropin.Dir, in the order of their names.
func readLocal(path string) (sources []source, paths []string, problems Problems) {
	paths = []string{path}
	entries, err := os.ReadDir(dropin.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		// A link that is dangling at the moment does not mean that no services are wanted.
		if _, absent := os.Lstat(dropin.Dir(path)); absent != nil {
			err = nil
		}
	}
	if err != nil {
		problems = append(problems, problemOf(dropin.Dir(path), 0, fmt.Errorf("cannot %w", err)))
	}
	for _, entry := range entries {
		if dropin.Counts(entry.Name()) && !entry.IsDir() {
			paths = append(paths, filepath.Join(dropin.Dir(path), entry.Name()))
		}
	}
	for i, path := range paths {
		s, err := readSource(path)
		if err != nil {
			problems = append(problems, problemOf(path, 0, err))
			continue
		}
		s.dropin = i > 0
		sources = append(sources, s)
	}
	return sources, paths, problems
}

var errTooLarge = fmt.Errorf("larger than %d MiB", maxFile>>20)

func readSource(path string) (source, error) {
	// Without O_NONBLOCK, opening a named pipe waits for a writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return source{}, fmt.Errorf("cannot %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return source{}, fmt.Errorf("cannot %w", err)
	}
	if !info.Mode().IsRegular() {
		return source{}, errors.New("cannot be read: it is not a regular file")
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return source{}, fmt.Errorf("cannot %w", err)
	}
	if len(content) > maxFile {
		return source{}, errTooLarge
	}
	return source{path: path, text: string(content), public: info.Mode()&0o044 != 0}, nil
}

// decode parses the TOML and finds the line of everything in it.
func (s source) decode() (map[string]any, map[string]int, *Problem) {
	table, lines, mistake := tomllines.Decode(s.text, isKey)
	if mistake == nil {
		return table, lines, nil
	}
	return nil, nil, &Problem{s.path, mistake.Line, mistake.Key, mistake.Text, mistake.Hint}
}

// isKey reports whether a name is that of a key or a table. Any other name could be a secret, and
// is not shown if the text is not valid.
func isKey(name string) bool {
	return isKeyOf(rootKeys, name) || isKeyOf(pgodKeys, name) || isKeyOf(upstreamKeys, name) || isKeyOf(serviceKeys, name)
}

func isKeyOf[T any](keys []key[T], name string) bool {
	return slices.ContainsFunc(keys, func(k key[T]) bool { return k.name == name })
}
