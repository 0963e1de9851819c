package compose

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// environment is compose's whole environment. The service's own env comes
// before what pgo relies on, so that it cannot change that. It does not lead to config.json:
// only pull and build need that, and compose would give the proxies in it to all containers.
func (p *Project) environment() []string {
	env := append([]string{"LANG=C.UTF-8"}, p.Env...)
	return append(append(env, p.settings()...), "HOME="+p.Home, "DOCKER_CONFIG=/nonexistent", "DOCKER_HOST="+p.Host)
}

// buildEnvironment is that of a compose that builds. It asks registries for tokens itself.
func (p *Project) buildEnvironment() []string {
	env := append(p.environment(), "DOCKER_CONFIG="+p.Home)
	if len(p.CA) > 0 {
		env = append(env, "SSL_CERT_FILE="+p.caFile()) // besides the system's directory of certificates
	}
	return append(env, p.Proxies.environment(p.Host)...)
}

// readingEnvironment is that of a compose that only reads a file, and may hand any of it on to
// containers. It has as little of this worker's environment as compose needs: neither the
// registries' credentials nor the engine are of any use there. With a home, a path that begins
// with ~ leads there, and is refused.
func (p *Project) readingEnvironment() []string {
	env := append(slices.Clone(p.Env), p.settings()...)
	return append(env, "HOME="+p.Home, "DOCKER_CONFIG=/nonexistent", "DOCKER_HOST=unix:///nonexistent")
}

// settings are what compose is given in either case.
func (p *Project) settings() []string {
	return []string{
		// Compose, and the builder in it, start programs that they find there, and this process
		// is as good as root. Git is one: it runs what a repository's configuration says, and a
		// commit may hold a whole repository of that kind.
		"PATH=/nonexistent",
		"BUILDX_GIT_INFO=false",
		"BUILDX_GIT_LABELS=false",
		"BUILDX_CONFIG=" + filepath.Join(p.Home, buildxState),
		// Attestations say when something was built, so each build would make another image.
		"BUILDX_NO_DEFAULT_ATTESTATIONS=1",
		"GIT_DIR=/nonexistent",
		"PWD=" + p.Checkout,
		// Set, so that a repository's .env does not choose.
		"COMPOSE_PROFILES=" + strings.Join(p.Profiles, ","),
		"COMPOSE_COMPATIBILITY=false",
		"COMPOSE_REMOVE_ORPHANS=false",
		// A remote include or extends would make it start git.
		"COMPOSE_EXPERIMENTAL_GIT_REMOTE=false",
		"COMPOSE_EXPERIMENTAL_OCI_REMOTE=false",
		"COMPOSE_MENU=false",
		p.Marker,
	}
}

// workersOwn returns the variables that are this worker's alone, each with its value where a file
// is read, or nil if it is not set there. PWD is not among them: it is the checkout, as with
// compose by hand.
func (p *Project) workersOwn() map[string]*string {
	own := map[string]*string{}
	for _, variable := range p.environment() {
		name, _, _ := strings.Cut(variable, "=")
		own[name] = nil
	}
	for _, variable := range p.readingEnvironment() {
		name, value, _ := strings.Cut(variable, "=")
		own[name] = &value
	}
	for _, variable := range p.Env {
		name, value, _ := strings.Cut(variable, "=")
		if now := own[name]; now != nil && *now == value {
			delete(own, name) // the service's, and not the worker's
		}
	}
	delete(own, "PWD")
	return own
}

// keepOwn removes from a model what its containers, builds and hooks would get of this worker's
// own environment: an entry of environment without a value asks for the value of whoever runs
// compose. The error is an ErrNoModel if a secret or config needs such a variable.
func (p *Project) keepOwn(m *Model) error {
	own := p.workersOwn()
	for _, service := range m.services() {
		drop(service["environment"], own)
		if build, ok := service["build"].(map[string]any); ok {
			drop(build["args"], own)
		}
		for _, hook := range []string{"post_start", "pre_start", "pre_stop"} {
			for _, h := range list(service[hook]) {
				drop(h["environment"], own)
			}
		}
	}
	for _, section := range []string{"secrets", "configs"} {
		entries := objects(m.root[section])
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			variable, _ := entries[name]["environment"].(string)
			if _, workers := own[variable]; workers {
				return &unresolved{text: fmt.Sprintf("%s.%s: the variable %s is not set; have an operator set it in the service's env, or choose another name", section, name, variable)}
			}
		}
	}
	return nil
}

// drop removes the variables that have no value, or have the worker's own.
func drop(environment any, own map[string]*string) {
	variables, _ := environment.(map[string]any)
	for name, value := range variables {
		if ours, workers := own[name]; workers && (value == nil || ours != nil && value == *ours) {
			delete(variables, name)
		}
	}
}
