package compose

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"

	"pgo/internal/procgroup"
)

// What pgo relies on, and what its tests have run on. The table in docs/operators.md is for people.
const (
	minEngine  = "20.10"
	minAPI     = "1.41" // of that engine
	minCompose = "2.35"

	triedEngine  = 29 // the newest major release
	triedCompose = 5  // likewise

	// ownBuilder is the last major release of compose that brings a BuildKit of its own. (There
	// is no 3 or 4.)
	ownBuilder = 2
)

// Found is what a host has of Docker, as far as it matters to pgo.
type Found struct {
	Engine   string // its version
	API      string // the newest version of it that the engine has
	Store    string // overlay2, overlayfs (of containerd), …
	Cgroup   string // 1 or 2
	Rootless bool

	Compose string
	Buildx  string // empty: it is not installed
}

// Facts returns them as the key-value pairs of a log line.
func (f Found) Facts() []any {
	return []any{
		"engine", f.Engine, "api", f.API, "store", f.Store, "cgroup", f.Cgroup, "rootless", f.Rootless,
		"compose", f.Compose, "buildx", cmp.Or(f.Buildx, "none"),
	}
}

func (f Found) String() string {
	engine := "engine"
	if f.Rootless {
		engine = "rootless engine"
	}
	return fmt.Sprintf("%s %s (API %s, image store %s, cgroup v%s), compose %s, buildx %s",
		engine, f.Engine, f.API, f.Store, f.Cgroup, f.Compose, cmp.Or(f.Buildx, "none"))
}

// Warnings returns what nobody has tried pgo with.
func (f Found) Warnings() []string {
	var all []string
	untried := func(what, version string, newest int) {
		if major, err := strconv.Atoi(strings.Split(plainVersion(version), ".")[0]); err != nil || major > newest {
			all = append(all, fmt.Sprintf("this pgo has not been tried with %s %s: it was with %d and older", what, version, newest))
		}
	}
	untried("Docker engine", f.Engine, triedEngine)
	if versions.GreaterThan(f.API, client.MaxAPIVersion) {
		all = append(all, fmt.Sprintf("the Docker engine has API %s, and the newest that this pgo knows is %s: it asks for that one", f.API, client.MaxAPIVersion))
	}
	untried("docker compose", f.Compose, triedCompose)
	return all
}

// Look finds out what there is. The error says that something is missing, or too old.
func Look(ctx context.Context, p *Project, e *Engine) (Found, error) {
	var f Found
	var err error
	if f.Compose, err = p.version(ctx); err != nil {
		return Found{}, err
	}
	if err := e.CheckVersion(ctx); err != nil {
		return Found{}, err
	}
	api, err := e.ping(ctx)
	if err != nil {
		return Found{}, fmt.Errorf("cannot reach the Docker engine: %w", err)
	}
	boot, err := e.Boot(ctx)
	if err != nil {
		return Found{}, err
	}
	compose := f.Compose
	f, err = p.engineOf(boot, api, func() (Found, error) {
		said, err := e.info(ctx)
		return Found{
			Engine: said.ServerVersion, API: api, Store: said.Driver, Cgroup: cmp.Or(said.CgroupVersion, "1"),
			Rootless: slices.Contains(said.SecurityOptions, "name=rootless"),
		}, err
	})
	if err != nil {
		return Found{}, err
	}
	f.Compose = compose
	f.Buildx = p.buildxVersion(ctx)
	return f, nil
}

// engineInfo is what an engine says about itself, as far as pgo reads it here.
type engineInfo struct {
	ServerVersion, Driver, CgroupVersion string
	SecurityOptions                      []string
	DefaultAddressPools                  []pool // empty: those that are built in
}

// info asks the engine for that.
func (e *Engine) info(ctx context.Context) (said engineInfo, err error) {
	c, err := e.connect()
	if err == nil {
		err = c.get(ctx, "/info", nil, &said)
	}
	if err != nil {
		return said, fmt.Errorf("cannot ask the engine for its settings: %w", err)
	}
	return said, nil
}

// versionTime bounds how long buildx may take to say its version.
const versionTime = 5 * time.Second

// buildxVersion returns the version of buildx where compose finds it; "": it is not there.
func (p *Project) buildxVersion(ctx context.Context) string {
	path := findPlugin("docker-buildx")
	if path == "" {
		return ""
	}
	const unknown = "of an unknown version"
	said, err := p.versionOf(path, func() (string, error) { return p.askBuildx(ctx, path) })
	if err != nil {
		return unknown
	}
	return said
}

func (p *Project) askBuildx(ctx context.Context, path string) (string, error) {
	var stdout bytes.Buffer
	cmd := exec.Command(path, "version")
	cmd.Env, cmd.Stdout = p.environment(), &stdout
	group, err := procgroup.Start(cmd)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	select {
	case <-group.Done():
	case <-ctx.Done():
		group.Stop(0)
		return "", context.Cause(ctx)
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	// github.com/docker/buildx v0.38.2 and a commit
	words := strings.Fields(stdout.String())
	if len(words) < 2 {
		return "", fmt.Errorf("%s said %q", path, stdout.String())
	}
	return plainVersion(words[1]), nil
}

// version returns which version compose says it is. The error says that it is too old, or cannot be
// asked.
func (p *Project) version(ctx context.Context) (string, error) {
	cmd, err := p.command(p.Home, false, []string{"version", "--short"})
	if err != nil {
		return "", err
	}
	said, err := p.versionOf(cmd.Path, func() (string, error) {
		var stdout bytes.Buffer
		err := p.run(ctx, cmd, Output{Stdout: &stdout}, "version", maxCPU)
		return strings.TrimSpace(stdout.String()), err
	})
	if err != nil {
		return "", err
	}
	if versions.LessThan(plainVersion(said), minCompose) {
		return "", &TooOldError{fmt.Sprintf("docker compose %s (%s) is too old: pgo needs %s or newer", said, cmd.Path, minCompose)}
	}
	return said, nil
}

// plainVersion returns the version alone: without v, and without what a distribution adds.
func plainVersion(version string) string {
	version = strings.TrimPrefix(version, "v")
	if i := strings.IndexAny(version, "-+~ "); i >= 0 {
		version = version[:i]
	}
	return version
}

// builderLacks are the keys of a build that the engine's own builder does not know: it ignores the
// first, and compose refuses the others.
var builderLacks = []string{"dockerfile_inline", "additional_contexts", "platforms", "privileged", "secrets", "ssh"}

// needsBuildx returns the first key of the model that only BuildKit knows; "": there is none.
func needsBuildx(m *Model) string {
	services := m.services()
	for _, name := range slices.Sorted(maps.Keys(services)) {
		build, _ := services[name]["build"].(map[string]any)
		for _, key := range builderLacks {
			switch value := build[key].(type) {
			case nil:
			case []any:
				if len(value) > 1 || len(value) == 1 && key != "platforms" {
					return "services." + name + ".build." + key
				}
			case map[string]any:
				if len(value) > 0 {
					return "services." + name + ".build." + key
				}
			default:
				if value != "" && value != false {
					return "services." + name + ".build." + key
				}
			}
		}
	}
	return ""
}

// CanBuild returns an error if a build of the model needs a builder that is not there. Compose has
// none of its own since release 5. Without buildx it leaves the build to the engine's.
func (p *Project) CanBuild(ctx context.Context, m *Model) error {
	key := needsBuildx(m)
	if key == "" || findPlugin("docker-buildx") != "" {
		return nil
	}
	said, err := p.version(ctx)
	if err != nil {
		return err
	}
	return lacksBuilder(key, said)
}

func lacksBuilder(key, compose string) error {
	if versions.LessThan(plainVersion(compose), strconv.Itoa(ownBuilder+1)) {
		return nil
	}
	return errors.New(key + " needs buildx, and docker compose " + compose + " has found none: have an operator install the plugin docker-buildx in one of " +
		strings.Join(pluginDirs, ", ") + "; it is tried again")
}
