package compose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"pgo/internal/lazyregexp"
)

// reading is one resolving of a repository's compose files.
type reading struct {
	*Project
	stage    string
	files    []string // in the stage; the paths in all of them begin where the first one is
	profiles []string
	env      string     // the .env, or os.DevNull
	given    []*os.File // files outside of the stage that compose may read, as they were opened
	placed   []string   // files that were put into the stage, and do not belong there
	warnings []string
}

// startReading finds what is to be read. Whoever calls it calls end.
func (p *Project) startReading(stage string, files, profiles []string) (*reading, error) {
	files, err := findFiles(stage, files)
	if err != nil {
		return nil, err
	}
	r := &reading{Project: p, stage: stage, files: files, profiles: profiles, env: os.DevNull}
	name := filepath.Join(r.dir(), ".env")
	if isFile(stage, name) {
		r.env = filepath.Join(stage, name)
	} else if file, err := r.byHand(name); err != nil {
		return nil, err
	} else if file != nil {
		r.env = filepath.Join(p.Checkout, name)
		r.given = append(r.given, file)
	}
	return r, nil
}

func (r *reading) end() {
	for _, file := range r.given {
		_ = file.Close()
	}
	for _, name := range r.placed {
		_ = os.Remove(filepath.Join(r.stage, name))
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			// An empty directory is none of the commit's, and a symlink is.
			if info, err := os.Lstat(filepath.Join(r.stage, dir)); err != nil || !info.IsDir() || os.Remove(filepath.Join(r.stage, dir)) != nil {
				break
			}
		}
	}
}

// dir is where the relative paths of the files begin, in the stage.
func (r *reading) dir() string { return filepath.Dir(r.files[0]) }

// byHand opens a file that somebody has put into the checkout, and that no commit brought there;
// nil: there is none. It is opened once: what is at its path later may be something else, if a
// container can write there. The error says that the file is of no use as it is, which is not the
// repository's fault.
func (r *reading) byHand(name string) (*os.File, error) {
	if !isFile(r.Checkout, name) || r.Tracked != nil && r.Tracked(name) {
		return nil, nil
	}
	root, err := os.OpenRoot(r.Checkout)
	if err != nil {
		return nil, nil
	}
	defer func() { _ = root.Close() }()
	file, err := root.OpenFile(name, os.O_RDONLY|noWait, 0)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("this service's user may not read %s: have an operator chown it", filepath.Join(r.Checkout, name))
	case err != nil:
		return nil, nil
	}
	info, err := file.Stat()
	switch {
	case err != nil || !info.Mode().IsRegular():
		_ = file.Close()
		return nil, nil
	case info.Size() > maxByHand:
		_ = file.Close()
		return nil, fmt.Errorf("%s is larger than %d KiB", filepath.Join(r.Checkout, name), maxByHand>>10)
	}
	return file, nil
}

// maxByHand bounds the size of a file that somebody put into the checkout.
const maxByHand = 1 << 20

// maxMore bounds how many files outside of the commit one model may use.
const maxMore = 100

// model has compose resolve the files. What compose misses and somebody provides is added, one
// file after the other.
func (r *reading) model(ctx context.Context) (*Model, error) {
	if err := r.placeOptional(ctx); err != nil {
		return nil, err
	}
	for range maxMore {
		raw, err := r.config(ctx, nil)
		if err == nil {
			return Decode(raw)
		}
		if provided, cannot := r.provide(err); cannot != nil {
			return nil, cannot
		} else if !provided {
			return nil, err
		}
	}
	return nil, &unresolved{text: fmt.Sprintf("cannot resolve %s: it needs more than %d files from outside of the repository", r.name(), maxMore)}
}

// name is how errors call what is resolved.
func (r *reading) name() string { return strings.Join(r.files, ", ") }

// config runs compose config on the files, and on more if it is not nil. The error is an
// ErrNoModel if the repository is to blame.
func (r *reading) config(ctx context.Context, more []byte, flags ...string) ([]byte, error) {
	var args []string
	for _, file := range r.files {
		args = append(args, "-f", filepath.Join(r.stage, file))
	}
	if more != nil {
		args = append(args, "-f", "-")
	}
	args = append(args, "--env-file", r.env)
	for _, profile := range r.profiles {
		args = append(args, "--profile", profile)
	}
	args = append(append(args, "config", "--format", "json"), flags...)
	cmd, err := r.command(filepath.Join(r.stage, r.dir()), false, args)
	if err != nil {
		return nil, err
	}
	if more != nil {
		cmd.Stdin = bytes.NewReader(more)
	}
	stdout, words := &limited{max: maxModel}, &limited{max: maxWords}
	err = r.confined(ctx, cmd, Output{Stdout: stdout, Stderr: words}, r.stage, r.given...)
	if failed := new(unresolved); errors.As(err, &failed) {
		return nil, &unresolved{text: fmt.Sprintf("cannot resolve %s: %s", r.name(), r.inWords(failed)), words: failed.words}
	}
	if err != nil {
		return nil, err
	}
	if stdout.over {
		return nil, &unresolved{text: fmt.Sprintf("cannot resolve %s: the model is larger than %d MiB", r.name(), maxModel>>20)}
	}
	r.warn(words.String())
	return stdout.Bytes(), nil
}

// missingEnv matches compose's complaint about an env_file that does not exist.
var missingEnv = lazyregexp.New(`(?m)\benv file (.+) not found: `)

// inWords says why compose could not resolve, and what to do where that is known.
func (r *reading) inWords(failed *unresolved) string {
	for _, name := range r.placed {
		// Compose's own words may be what an operator wrote there.
		if strings.Contains(failed.words, filepath.Join(r.stage, name)) {
			return "docker compose cannot read " + filepath.Join(r.Checkout, name) + line.FindString(failed.words)
		}
	}
	if path, ok := r.missing(failed); ok {
		return fmt.Sprintf("env_file %s is neither in the repository nor in the checkout: commit it, or have an operator put it on the host as %s and run up",
			path, filepath.Join(r.Checkout, path))
	}
	if name, ok := r.before(failed); ok {
		return fmt.Sprintf("%s is given with the whole path of the checkout, such as ${PWD}, and is not this commit's there: write ./ in place of that path", name)
	}
	if found := missingEnv.FindStringSubmatch(failed.words); found != nil {
		if name, ok := below(r.Home, found[1]); ok {
			return fmt.Sprintf("env_file ~/%s: there is no home directory here; write a path in the repository", name)
		}
	}
	if path, ok := r.kept(failed); ok && r.Granted != nil {
		file, entry := r.Granted(path)
		if file != nil {
			_ = file.Close()
		}
		if entry != "" {
			return failed.text + fmt.Sprintf(" (allow = [%q])", entry)
		}
	}
	return failed.text
}

// missing returns the path in the repository of an env_file that compose did not find.
func (r *reading) missing(failed *unresolved) (string, bool) {
	found := missingEnv.FindStringSubmatch(failed.words)
	if found == nil {
		return "", false
	}
	return below(r.stage, found[1])
}

// kept returns the path of a file outside of the stage that the sandbox has kept from compose.
func (r *reading) kept(failed *unresolved) (string, bool) {
	found := denied.FindStringSubmatch(failed.words)
	if found == nil || !filepath.IsAbs(found[1]) {
		return "", false
	}
	_, inside := below(r.stage, found[1])
	return found[1], !inside
}

// before returns the path in the repository of a file that compose looked for in the checkout, as
// it does for ${PWD}/web.env, if a commit brings it there. Until the switch it is missing there, or
// that of the commit before.
func (r *reading) before(failed *unresolved) (string, bool) {
	found := missingEnv.FindStringSubmatch(failed.words)
	if found == nil {
		found = denied.FindStringSubmatch(failed.words)
	}
	if found == nil {
		return "", false
	}
	if _, staged := below(r.stage, found[1]); staged {
		return "", false
	}
	name, inside := below(r.Checkout, found[1])
	return name, inside && (isFile(r.stage, name) || r.Tracked != nil && r.Tracked(name))
}

// provide adds what compose has missed, and reports whether another try makes sense. The error says
// why that which is there cannot be added.
func (r *reading) provide(err error) (provided bool, cannot error) {
	failed := new(unresolved)
	if !errors.As(err, &failed) {
		return false, nil
	}
	if name, ok := r.missing(failed); ok {
		return r.place(name)
	}
	if _, ok := r.before(failed); ok {
		return false, nil
	}
	path, ok := r.kept(failed)
	if !ok || r.Granted == nil || slices.ContainsFunc(r.given, func(f *os.File) bool { return f.Name() == path }) {
		return false, nil
	}
	file, _ := r.Granted(path)
	if file != nil {
		r.given = append(r.given, file)
	}
	return file != nil, nil
}

// noWait keeps the opening of a FIFO from waiting for a writer.
const noWait = syscall.O_NONBLOCK

// place copies a file that somebody put into the checkout to where compose looks for it, and
// reports whether there is one.
func (r *reading) place(name string) (bool, error) {
	file, err := r.byHand(name)
	if file == nil || err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxByHand))
	if err != nil {
		return false, err
	}
	root, err := os.OpenRoot(r.stage)
	if err != nil {
		return false, err
	}
	defer func() { _ = root.Close() }()
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return false, err
	}
	copied, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return false, err
	}
	r.placed = append(r.placed, name)
	_, err = copied.Write(content)
	return true, errors.Join(err, copied.Close())
}

// optional has the words of which a compose file has one if it has an env_file that may be
// missing, by itself or through another file. Compose does not say that it misses such a file.
var optional = lazyregexp.New(`\b(required|include|extends)\b`)

// placeOptional places each env_file that may be missing.
func (r *reading) placeOptional(ctx context.Context) error {
	if !slices.ContainsFunc(r.files, func(file string) bool { return optional.MatchString(r.text(file)) }) {
		return nil
	}
	raw, err := r.unexpanded(ctx)
	if errors.Is(err, ErrNoModel) {
		return nil // this way of reading understands less
	}
	if err != nil {
		return err
	}
	for _, service := range raw.services() {
		for _, file := range list(service["env_file"]) {
			path, _ := file["path"].(string)
			name, inside := below(r.stage, path)
			if file["required"] == false && inside && !isFile(r.stage, name) && len(r.placed) < maxMore {
				if _, err := r.place(name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// text returns a file of the stage, as far as it is of a usual size.
func (r *reading) text(name string) string {
	root, err := os.OpenRoot(r.stage)
	if err != nil {
		return ""
	}
	defer func() { _ = root.Close() }()
	file, err := root.OpenFile(name, os.O_RDONLY|noWait, 0)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxByHand))
	if err != nil {
		return ""
	}
	return string(text)
}

// unexpanded returns the model without any variable replaced, and with every env_file.
func (r *reading) unexpanded(ctx context.Context) (*Model, error) {
	warnings := r.warnings
	raw, err := r.config(ctx, nil, "--no-interpolate")
	r.warnings = warnings // those of the resolving itself say the same
	if err != nil {
		return nil, err
	}
	root, err := parse(raw)
	if err != nil {
		return nil, err
	}
	return &Model{root: root}, nil
}
