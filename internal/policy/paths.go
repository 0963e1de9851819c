package policy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Links reads symlinks. For a commit that is not in the checkout yet, it reports what will be
// there.
type Links interface {
	// Readlink returns the target of the symlink at path; "" if there is no symlink.
	Readlink(path string) (string, error)
}

// Disk is the Links of this host.
type Disk struct{}

// Readlink implements Links.
func (Disk) Readlink(path string) (string, error) {
	target, err := os.Readlink(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTDIR) {
		return "", nil
	}
	return target, err
}

// Kind returns the type of what is at path, fs.ModeDir for example and 0 for a regular file, and
// whether there is anything. It follows no symlink.
func (Disk) Kind(path string) (kind fs.FileMode, there bool, err error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	}
	return info.Mode().Type(), true, nil
}

// source is a path on the host that a model uses.
type source struct {
	at       place
	path     string
	mounted  bool // while containers run, and not only to build
	both     bool // it may be in the checkout as well
	writable bool
	labelled bool // the engine gives what is there another label, for SELinux
}

func (c *checker) mount(at place, path string, writable bool) {
	c.sources = append(c.sources, source{at: at, path: path, mounted: true, writable: writable})
}

func (c *checker) read(at place, path string) {
	c.sources = append(c.sources, source{at: at, path: path})
}

// readBoth is read for a path that may be in the checkout as well.
func (c *checker) readBoth(at place, path string) {
	c.sources = append(c.sources, source{at: at, path: path, both: true})
}

const (
	maxLinks = 64      // symlinks that a path may lead through
	maxSteps = 500_000 // parts of paths that are looked up for one model
)

// resolved is where a path leads.
type resolved struct {
	path  string
	links []string // the symlinks on the way
	blind bool     // from some point on it could not be resolved, and is as written
	loop  bool
}

// roots resolves paths, and knows which of them may be mounted.
type roots struct {
	disk      Links
	tree      string // where the model's paths are: the stage or the checkout, as written
	repo      string // the same, resolved
	checkout  string // resolved
	home      string // what compose takes for ~
	forbidden []string
	granted   []string // what `allow = ["bind:…"]` names
	open      []string // where a commit or a container may put symlinks
	steps     int      // taken so far
}

func newRoots(l Limits, disk Links, repo string) *roots {
	r := &roots{disk: disk, tree: repo, home: l.Home}
	r.repo, r.checkout = r.resolve(repo).path, r.resolve(l.Checkout).path
	for _, dir := range append([]string{"/proc"}, l.Forbidden...) {
		r.forbidden = append(r.forbidden, r.resolve(dir).path)
	}
	var dirs []string
	for _, entry := range l.Allow {
		if dir, bind := strings.CutPrefix(entry, liftBind); bind && filepath.IsAbs(dir) {
			dirs = append(dirs, filepath.Clean(dir))
		}
	}
	r.open = append([]string{r.repo, r.checkout}, dirs...)
	ends := map[string]resolved{}
	for _, dir := range dirs {
		if !slices.ContainsFunc(dirs, func(other string) bool { return below(other, dir) }) && !within(r.checkout, dir) {
			ends[dir] = r.resolve(dir)
			r.open = append(r.open, ends[dir].path)
		}
	}
	for _, dir := range dirs {
		// A directory in another one that containers may write to could have become a symlink, and
		// so could what leads there: it is taken as written, and not resolved.
		if end, outside := ends[dir]; outside && !r.loose(end) {
			dir = end.path
		}
		r.granted = append(r.granted, dir)
	}
	return r
}

// loose reports whether a path leads through a symlink that a commit or a container may have put
// there.
func (r *roots) loose(to resolved) bool {
	return slices.ContainsFunc(to.links, func(link string) bool {
		return slices.ContainsFunc(r.open, func(dir string) bool { return below(dir, link) })
	})
}

// end follows a source to where it leads. What is mounted is followed in the
// checkout, where it will be: a symlink to the stage leads out of that. What a build
// reads is followed in the stage, where it is.
func (r *roots) end(s source) resolved {
	if rest, inTree := strings.CutPrefix(s.path, r.tree+"/"); inTree && s.mounted {
		return r.resolve(r.checkout + "/" + rest)
	} else if s.path == r.tree && s.mounted {
		return r.resolve(r.checkout)
	}
	return r.resolve(s.path)
}

// resolve follows the symlinks of an absolute path, as the kernel does.
func (r *roots) resolve(path string) resolved {
	var to resolved
	done, rest := "/", strings.Split(path, "/")
	for len(rest) > 0 {
		step := rest[0]
		rest = rest[1:]
		if r.steps++; r.steps > maxSteps {
			return resolved{path: path, loop: true}
		}
		switch step {
		case "", ".":
			continue
		case "..":
			done = filepath.Dir(done)
			continue
		}
		done = filepath.Join(done, step)
		target, err := r.disk.Readlink(done)
		switch {
		case err != nil:
			to.blind = true
			done, rest = filepath.Join(append([]string{done}, rest...)...), nil
		case target != "":
			to.links = append(to.links, done)
			if len(to.links) > maxLinks {
				return resolved{path: path, loop: true}
			}
			rest = append(strings.Split(target, "/"), rest...)
			done = filepath.Dir(done)
			if filepath.IsAbs(target) {
				done = "/"
			}
		}
	}
	if path != "" {
		to.path = done
	}
	return to
}

// Readable returns where a path outside of the repository leads, if compose may read that while it
// resolves, as it may an env_file that an operator has granted. Otherwise it returns the entry of
// allow that would grant it; both are empty if none does.
func Readable(l Limits, path string, links Links) (end, entry string) {
	r := newRoots(l, links, l.Stage)
	s := source{path: path, mounted: true}
	to := r.end(s)
	if l.Root && !to.loop && !to.blind {
		return to.path, ""
	}
	why, entry := r.complaint(s, to)
	switch {
	case why == "":
		return to.path, ""
	case !writable(entry):
		return "", ""
	}
	return "", entry
}

// Exists reports whether there will be anything where a path of a model leads, once the checkout is
// what disk says. In doubt there is.
func Exists(l Limits, path string, disk Lookup) bool {
	r := newRoots(l, disk, l.Stage)
	to := r.end(source{path: path, mounted: true})
	if to.loop || to.blind {
		return true
	}
	_, there, err := disk.Kind(to.path)
	return there || err != nil
}

// wrong is a source that leads where it must not.
type wrong struct {
	source
	why, entry string
}

// judge refuses the sources that lead where they must not, and those that a container could lead
// there later. What an entry of allow would grant is judged as if it were granted: all refusals
// come at once.
func (c *checker) judge(r *roots, sources []source) {
	var refused []wrong
	ends := map[source]resolved{}
	writable := map[string]place{}
	for _, path := range c.Writable {
		writable[r.resolve(path).path] = place{path: "a container that still runs"}
	}
	for _, s := range sources {
		end := r.end(s)
		if why, entry := r.complaint(s, end); why != "" {
			refused = append(refused, wrong{s, why, entry})
			if entry == "" {
				continue
			}
		}
		if !s.mounted {
			continue
		}
		ends[s] = end
		if first, taken := writable[end.path]; s.writable && (!taken || s.at.path < first.path) {
			writable[end.path] = s.at
		}
	}
	for _, w := range refused {
		c.refuse(w.at, r.show(w.path), w.why, shortest(w.entry, refused))
	}
	for s, end := range ends {
		c.judgeWay(r, s, end, writable)
	}
}

// shortest returns the entry for a directory that is to be granted anyway, if it grants what the
// given entry does.
func shortest(entry string, refused []wrong) string {
	for _, w := range refused {
		if writable(w.entry) && below(strings.TrimPrefix(w.entry, liftBind), strings.TrimPrefix(entry, liftBind)) {
			entry = w.entry
		}
	}
	return entry
}

// complaint returns what is wrong with where a source leads, and the entry of
// allow that would grant it.
func (r *roots) complaint(s source, end resolved) (why, entry string) {
	why, entry = "it is not in the repository", r.entryFor(s, end)
	if to := r.showEnd(s, end.path); to != r.show(filepath.Clean(s.path)) {
		why = "it leads to " + to + ", which is not in the repository"
	}
	in := func(dir string) bool { return within(dir, end.path) }
	switch {
	case !filepath.IsAbs(s.path):
		return "not an absolute path", ""
	case slices.Contains(strings.Split(s.path, "/"), ".."):
		return "write it without ..", ""
	case end.loop:
		return "too many symlinks", ""
	case end.blind:
		// The operator may know better, unless containers can write there.
		if r.isForbidden(end.path) || slices.ContainsFunc(r.granted, func(dir string) bool { return below(dir, end.path) }) {
			entry = ""
		} else if slices.Contains(r.granted, end.path) {
			return "", ""
		}
		return "this service's user may not see where " + r.showEnd(s, end.path) + " leads", entry
	case s.mounted && in(r.checkout), !s.mounted && in(r.repo), s.both && in(r.checkout):
		return "", ""
	case r.home != "" && within(r.home, s.path):
		return "there is no home directory here: write the whole path, or one in the repository", ""
	case within("/proc", end.path):
		return why + ", and no entry of allow grants it: only a service whose user is root may mount it", ""
	case r.contains(end.path):
		return why + ", and no entry of allow grants all of it: mount only what is needed there, or have an operator make root the service's user", ""
	case r.isForbidden(end.path):
		return why + ", and no entry of allow grants it", ""
	case slices.ContainsFunc(r.granted, in):
		return "", ""
	case s.mounted && r.tellsTime(end.path):
		switch {
		case s.labelled: // programs of the host could no longer read it
			why += "; read-only it is allowed, without z and Z"
		case s.writable:
			why += "; read-only it is allowed"
		default:
			return "", ""
		}
	}
	return why, entry
}

// entryFor returns the entry of allow that grants a source. On another host the same path may lead
// elsewhere, so the entry has the path as it is written, if that is not up to the repository.
func (r *roots) entryFor(s source, end resolved) string {
	written := filepath.Clean(s.path)
	to := r.resolve(written)
	own := slices.ContainsFunc([]string{r.tree, r.repo, r.checkout}, func(dir string) bool { return within(dir, written) })
	// In what is granted already, or by a symlink in there, an entry as written would grant nothing.
	if own || slices.ContainsFunc(r.open, func(dir string) bool { return below(dir, written) }) || to.path != end.path || r.loose(to) {
		return liftBind + end.path
	}
	return liftBind + written
}

// The host's time zone, which programs read there. It is not a secret, and the same for all.
var (
	timeFiles = []string{"/etc/localtime", "/etc/timezone"}
	timeZones = "/usr/share/zoneinfo"
)

// tellsTime reports whether a path leads to the host's time zone, and to something that exists: the
// engine would make a directory in its place.
func (r *roots) tellsTime(path string) bool {
	if !slices.Contains(timeFiles, path) && !within(timeZones, path) {
		return false
	}
	disk, ok := r.disk.(Lookup)
	if !ok {
		return true
	}
	_, there, err := disk.Kind(path)
	return err == nil && there
}

// contains reports whether a path holds something that no entry grants, next to what one may.
func (r *roots) contains(path string) bool {
	return slices.ContainsFunc(r.forbidden, func(dir string) bool { return below(path, dir) })
}

// judgeWay refuses a mount that is reached through another, writable one: the container that has
// the writable one can put a symlink there, which the next start follows.
func (c *checker) judgeWay(r *roots, s source, end resolved, writable map[string]place) {
	for _, path := range append(slices.Clone(end.links), end.path) {
		for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
			if by, found := writable[dir]; found {
				c.refuse(s.at, r.show(s.path), "it is reached through "+r.show(dir)+", which "+by.path+" makes writable", "nested-bind")
				return
			}
			if dir == "/" {
				break
			}
		}
	}
}

// isForbidden reports whether path is, is in, or contains one that no entry of allow grants.
func (r *roots) isForbidden(path string) bool {
	return slices.ContainsFunc(r.forbidden, func(dir string) bool { return within(dir, path) || within(path, dir) })
}

// show shortens a path in the repository to the part in there.
func (r *roots) show(path string) string {
	if r.home != "" && within(r.home, path) {
		return "~" + strings.TrimPrefix(path, r.home)
	}
	return shorten(path, r.repo, r.checkout)
}

// showEnd is show for where a source leads. For a mounted source the stage is a directory like
// any other.
func (r *roots) showEnd(s source, path string) string {
	if s.mounted {
		return shorten(path, r.checkout)
	}
	return r.show(path)
}

func shorten(path string, roots ...string) string {
	for _, root := range roots {
		if within(root, path) {
			return "." + strings.TrimPrefix(path, root)
		}
	}
	return path
}

// within reports whether path is dir or is in it.
func within(dir, path string) bool { return path == dir || below(dir, path) }

// below reports whether path is in dir.
func below(dir, path string) bool {
	return dir != "" && path != dir && strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
