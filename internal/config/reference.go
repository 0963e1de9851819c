package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// maxSecret is the largest size of a secret or list of keys; a private key has some 3 KiB.
const maxSecret = 64 << 10

// references gets values that are not in the configuration file itself.
type references struct {
	file   func(path string) (string, error) // which others must not be able to read
	public func(path string) (string, error) // which others may read
	env    func(name string) (string, error)

	operators func(path string) error // what is wrong with a file of keys; nil: it is not read
}

var (
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// With one slash only: file:///srv/x.git is a URL.
	fileReference = regexp.MustCompile(`^file:(/[^/[:cntrl:]][^[:cntrl:]]*)$`)
)

// reference splits file:/path and env:NAME; ok is false for any other text.
func reference(text string) (kind, name string, ok bool) {
	if m := fileReference.FindStringSubmatch(text); m != nil {
		return "file", m[1], true
	}
	if name, found := strings.CutPrefix(text, "env:"); found && variable.MatchString(name) {
		return "env", name, true
	}
	return "", "", false
}

// halfReference returns the form of the reference that a text was most likely meant to be. If
// the text were taken literally, the name of a secret would be used in place of the secret.
func halfReference(text string) (form string, half bool) {
	_, _, whole := reference(text)
	switch {
	case whole || strings.HasPrefix(text, "file:///"):
		return "", false
	case strings.HasPrefix(text, "file:"):
		return "file:/path, the whole path from /", true
	}
	return "env:NAME, a name of letters, digits and _", strings.HasPrefix(text, "env:")
}

// resolve returns what text refers to, or text itself if it is not a reference.
func (r references) resolve(text string) (string, error) {
	kind, name, ok := reference(text)
	switch {
	case !ok:
		return text, nil
	case kind == "env":
		return r.env(name)
	}
	content, err := r.file(name)
	return strings.TrimSuffix(strings.TrimSuffix(content, "\n"), "\r"), err
}

// resolved applies parse to what a text refers to.
func resolved[T any](r references, parse func(string) (T, error)) func(string) (T, error) {
	return func(text string) (none T, err error) {
		content, err := r.resolve(text)
		if err != nil {
			return none, err
		}
		parsed, err := parse(content)
		if m := (*mistake)(nil); errors.As(err, &m) && content != text {
			return none, wrong(m.hint, "%s: %s", text, m.message)
		}
		return parsed, err
	}
}

func lookupEnv(name string) (string, error) {
	content, set := os.LookupEnv(name)
	if !set {
		return "", wrong("set it where pgod is started", "the environment variable %s is not set", name)
	}
	return content, nil
}

// readSecretFile reads a file, unless others can access it.
func readSecretFile(path string) (string, error) {
	return readOwnFile(path, 0o077, "may be used by others", "chmod 600")
}

// readPublicFile reads a file, unless others can change it.
func readPublicFile(path string) (string, error) {
	return readOwnFile(path, 0o022, "may be changed by others", "chmod go-w")
}

// readOwnFile reads a small regular file that belongs to root or to this process's user and has
// none of the forbidden permissions.
func readOwnFile(path string, forbidden os.FileMode, why, cure string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", wrong("write the whole path", "%s is not absolute", quote(path))
	}
	// Without O_NONBLOCK, opening a named pipe waits for a writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("cannot %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("cannot %w", err)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case !info.Mode().IsRegular():
		return "", wrong("", "cannot read %s: it is not a regular file", path)
	case owner != 0 && int(owner) != os.Geteuid():
		return "", wrong("chown root "+path, "cannot trust %s: it belongs to user %d", path, owner)
	case info.Mode()&forbidden != 0:
		return "", wrong(cure+" "+path, "cannot trust %s: it %s (mode %04o)", path, why, info.Mode().Perm())
	}
	content, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("cannot %w", err)
	}
	if len(content) > maxSecret {
		return "", wrong("", "cannot read %s: it is larger than %d KiB", path, maxSecret>>10)
	}
	return string(content), nil
}
