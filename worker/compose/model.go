package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// FileNames are the names that a compose file may have if the configuration names none, in the
// order in which pgo looks for them.
var FileNames = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}

// ErrNoFile means that a repository has no compose file.
var ErrNoFile = errors.New("no compose file")

// ErrNoModel means that compose ran, and could not resolve what a repository has. Other errors of
// Resolve say nothing about the repository.
var ErrNoModel = errors.New("no model")

// maxModel bounds a resolved model, including env files and inlined configs.
const maxModel = 16 << 20

// Model is a resolved compose file, decoded: a dollar in it is a dollar. Everything that pgo
// reads from a repository's compose file it reads from here.
type Model struct {
	root     map[string]any
	warnings []string
}

// Resolve resolves the compose files of the tree in stage, in their order, each of which may
// override what those before it say. files are their paths in there; none means the first of
// FileNames. If the tree has no .env next to the first one, the one next to it in the checkout
// counts, which somebody put there by hand; likewise for an env_file.
func (p *Project) Resolve(ctx context.Context, stage string, files ...string) (*Model, error) {
	return p.resolve(ctx, stage, files, p.Profiles)
}

// ResolveEach resolves the same files with the configured profiles, and with all of them. That is
// one model, and one start of compose, unless a compose service has a profile. all is nil if the
// files make a model with the configured profiles only.
func (p *Project) ResolveEach(ctx context.Context, stage string, files ...string) (configured, all *Model, err error) {
	all, err = p.resolve(ctx, stage, files, []string{"*"})
	switch {
	case err == nil && !all.hasProfiles():
		return all, all, nil
	case errors.Is(err, ErrNoModel):
		all = nil
	case err != nil:
		return nil, nil, err
	}
	configured, err = p.Resolve(ctx, stage, files...)
	return configured, all, err
}

func (p *Project) resolve(ctx context.Context, stage string, files, profiles []string) (*Model, error) {
	r, err := p.startReading(stage, files, profiles)
	if err != nil {
		return nil, err
	}
	defer r.end()
	m, err := r.model(ctx)
	if err != nil {
		return nil, err
	}
	clean(m)
	if p.Extensions {
		if err := r.extend(ctx, m); err != nil {
			return nil, err
		}
	}
	// ${PWD} is the checkout, which has the commit before until the switch.
	m.Reroot(p.Checkout, stage)
	if err := p.keepOwn(m); err != nil {
		return nil, err
	}
	if err := r.takeValues(ctx, m); err != nil {
		return nil, err
	}
	r.warnOfUnread(files)
	m.warnings = r.warnings
	return m, nil
}

// unresolved is an ErrNoModel in words.
type unresolved struct {
	text  string
	words string // all that compose printed, which may hold secrets
}

func (e *unresolved) Error() string        { return e.text }
func (e *unresolved) Is(target error) bool { return target == ErrNoModel }

// findFiles returns the compose files' paths in stage.
func findFiles(stage string, files []string) ([]string, error) {
	if len(files) == 0 {
		for _, name := range FileNames {
			if isFile(stage, name) {
				return []string{name}, nil
			}
		}
		return nil, fmt.Errorf("%w: the repository has no %s", ErrNoFile, strings.Join(FileNames, ", "))
	}
	var found []string
	for _, name := range files {
		name = filepath.Clean(name)
		if !isFile(stage, name) {
			return nil, fmt.Errorf("%w: the repository has no %s", ErrNoFile, name)
		}
		found = append(found, name)
	}
	return found, nil
}

// isFile reports whether name is a regular file in the tree, reached without a symlink that leads
// out of it.
func isFile(tree, name string) bool {
	root, err := os.OpenRoot(tree)
	if err != nil {
		return false
	}
	defer func() { _ = root.Close() }()
	info, err := root.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// complaint returns what compose printed, without its warnings.
func complaint(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); !strings.Contains(line, "level=warning") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// Services returns the names of the compose services, sorted.
func (m *Model) Services() []string {
	var names []string
	for name := range m.services() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Images returns the name of each compose service's image.
func (m *Model) Images(project string) map[string]string {
	images := map[string]string{}
	for name, service := range m.services() {
		image, _ := service["image"].(string)
		if image == "" {
			image = project + "-" + name // compose's own default for what it builds
		}
		images[name] = image
	}
	return images
}

// Built returns the compose services whose image is built, sorted.
func (m *Model) Built() []string {
	var names []string
	for name, service := range m.services() {
		if service["build"] != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// BuiltNames returns all names that a compose service's build gives its image.
func (m *Model) BuiltNames(project, service string) []string {
	names := []string{m.Images(project)[service]}
	build, _ := m.services()[service]["build"].(map[string]any)
	tags, _ := build["tags"].([]any)
	for _, tag := range tags {
		if name, ok := tag.(string); ok {
			names = append(names, name)
		}
	}
	return names
}

// Pulled returns the compose services whose image a deploy pulls, sorted: those without a local
// image in ids, and those that want a pull each time.
func (m *Model) Pulled(project string, ids map[string]string) []string {
	return slices.DeleteFunc(Pullable(m, project), func(name string) bool {
		switch policy, _ := m.services()[name]["pull_policy"].(string); policy {
		case "", "missing", "if_not_present":
			return ids[name] != ""
		}
		return false // always, and daily, weekly and every_…, for which `compose pull` does not look at the time
	})
}

// Pullable returns the compose services whose image may be pulled, sorted. What is built here is
// not, also where another compose service builds it.
func Pullable(m *Model, project string) []string {
	built := map[string]bool{}
	for _, service := range m.Built() {
		for _, name := range m.BuiltNames(project, service) {
			built[FullName(name)] = true
		}
	}
	var names []string
	for name, image := range m.Images(project) {
		policy := m.services()[name]["pull_policy"]
		if !built[FullName(image)] && policy != "never" && policy != "build" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Needs returns the compose services that the named ones depend on, directly or indirectly,
// sorted. Compose has written every kind of dependency as depends_on.
func (m *Model) Needs(names []string) []string {
	needed := map[string]bool{}
	for left := slices.Clone(names); len(left) > 0; left = left[1:] {
		depends, _ := m.services()[left[0]]["depends_on"].(map[string]any)
		for name := range depends {
			if !needed[name] {
				needed[name] = true
				left = append(left, name)
			}
		}
	}
	return slices.Sorted(maps.Keys(needed))
}

// JobsBefore returns the jobs that must have ended before the named compose service is started,
// sorted.
func JobsBefore(m *Model, service string) []string {
	var jobs []string
	for name, how := range objects(m.services()[service]["depends_on"]) {
		if how["condition"] == "service_completed_successfully" {
			jobs = append(jobs, name)
		}
	}
	slices.Sort(jobs)
	return jobs
}

// Replicas returns how many containers a compose service should have.
func (m *Model) Replicas(service string) int {
	s := m.services()[service]
	deploy, _ := s["deploy"].(map[string]any)
	for _, v := range []any{s["scale"], deploy["replicas"]} {
		if n, ok := v.(json.Number); ok {
			if n, err := n.Int64(); err == nil {
				return int(n)
			}
		}
	}
	return 1
}

// StaysUp reports whether the engine starts a compose service again when it ended with 0: a
// server, not a job.
func (m *Model) StaysUp(service string) bool {
	s := m.services()[service]
	deploy, _ := s["deploy"].(map[string]any)
	policy, _ := deploy["restart_policy"].(map[string]any)
	return s["restart"] == "always" || s["restart"] == "unless-stopped" || policy["condition"] == "any"
}

// hasProfiles reports whether anything in the model, such as a compose service, is there only with
// certain profiles.
func (m *Model) hasProfiles() bool {
	for _, section := range m.root {
		for _, entry := range objects(section) {
			if _, ok := entry["profiles"]; ok {
				return true
			}
		}
	}
	return false
}

// Activate removes the profiles from the compose services: every service in the model runs.
func (m *Model) Activate() {
	for _, service := range m.services() {
		delete(service, "profiles")
	}
}

func (m *Model) services() map[string]map[string]any {
	return objects(m.root["services"])
}

// objects returns the entries of v that are objects themselves.
func objects(v any) map[string]map[string]any {
	found := map[string]map[string]any{}
	entries, _ := v.(map[string]any)
	for name, entry := range entries {
		if o, ok := entry.(map[string]any); ok {
			found[name] = o
		}
	}
	return found
}

// limited is a buffer that stops growing at max.
type limited struct {
	bytes.Buffer
	max  int
	over bool
}

func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > l.max {
		l.over = true
		return len(b), nil
	}
	return l.Buffer.Write(b)
}
