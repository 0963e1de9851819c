package config

import (
	"errors"
	"fmt"
	"slices"
)

// The keys of each table. A new key needs a line here, a field in the struct, a section in
// docs/configuration.md and a case in testdata.

var rootKeys = []key[reader]{
	{name: "pgod", read: (*reader).readPgod},
	{name: "upstream", read: (*reader).readUpstream},
	{name: "services", read: (*reader).readServices},
}

var pgodKeys = []key[Config]{
	{name: "operator_keys", read: readOperatorKeys},
	{name: "notify", read: func(c *Config, v value) { c.Notify = readList(v, parseNotify) }},
	{name: "trusted_networks", read: func(c *Config, v value) { c.TrustedNetworks = readList(v, parseTrusted) }},
	{name: "http_proxy", read: func(c *Config, v value) { c.Proxies.HTTP = readProxy(v) }},
	{name: "https_proxy", read: func(c *Config, v value) { c.Proxies.HTTPS = readProxy(v) }},
	{name: "no_proxy", read: func(c *Config, v value) { c.Proxies.No = read(v, parseNoProxy) }},
}

const aRepository = `where the git repository is, such as repository = "https://git.example.org/web.git"`

var serviceKeys = []key[Service]{
	{name: "name", required: `what the service is called, such as name = "web"`, read: func(s *Service, v value) { s.Name = read(v, parseName) }},
	{name: "user", required: `the Unix user that the service runs as, such as user = "web"`, read: func(s *Service, v value) { s.User = read(v, parseUser) }},
	{name: "repository", required: aRepository, read: func(s *Service, v value) { s.Repository = readRepository(v) }},
	{name: "branch", read: func(s *Service, v value) { s.Branch = read(v, parseBranch) }},
	{name: "compose", read: readCompose},
	{name: "profiles", read: func(s *Service, v value) { s.Profiles = readList(v, parseProfile) }},
	{name: "ignore", read: func(s *Service, v value) { s.Ignore = readBool(v) }},
	{name: "adopt", read: func(s *Service, v value) { s.Adopt = readBool(v) }},
	{name: "env", read: readEnv},
	{name: "urls", read: readRoutes},
	{name: "ports", read: func(s *Service, v value) { s.Ports = readList(v, parsePortRange) }},
	{name: "networks", read: func(s *Service, v value) { s.Networks = readList(v, parseNetwork) }},
	{name: "import", read: func(s *Service, v value) { s.Import = read(v, parseRepositoryPath) }},
	{name: "reload", read: func(s *Service, v value) { s.Reload = read(v, parseReload) }},
	{name: "registries", read: readRegistries},
	{name: "git_key", read: func(s *Service, v value) { s.GitKey = read(v, gitKey(v.refs)) }},
	{name: "ca", read: func(s *Service, v value) { s.CA = read(v, certificates(v.refs)) }},
	{name: "allow", read: func(s *Service, v value) { s.Allow = readList(v, parseAllow) }},
	{name: "deploy", read: func(s *Service, v value) { s.Deploy = read(v, parseDeploy) }},
	{name: "rollback", read: func(s *Service, v value) { s.Rollback = readBool(v) }},
	{name: "gate", read: func(s *Service, v value) { s.Gate = read(v, parseDuration) }},
	{name: "timeout", read: func(s *Service, v value) { s.Timeout = read(v, parseDuration) }},
	{name: "interval", read: func(s *Service, v value) { s.Interval = read(v, parseDuration) }},
	{name: "machine", read: func(s *Service, v value) { s.Machine = readList(v, parseHost) }},
	{name: "docker_host", read: func(s *Service, v value) { s.DockerHost = read(v, parseDockerHost) }},
	{name: "notify", read: func(s *Service, v value) { s.Notify = readList(v, parseNotify) }},
}

// readOperatorKeys reads the path of a file. Mistakes in the file are reported for this key.
func readOperatorKeys(c *Config, v value) {
	c.OperatorKeys = read(v, parseAbsolutePath)
	if c.OperatorKeys == "" || v.refs.operators == nil {
		return
	}
	var problems Problems
	errors.As(v.refs.operators(c.OperatorKeys), &problems)
	for _, p := range problems {
		message := p.Message
		if p.Line > 0 {
			message = fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
		}
		v.complain(wrong(p.Hint, "%s", message))
	}
}

func readRepository(v value) SecretURL {
	repository := read(v, resolved(v.refs, parseRepository))
	if repository.String() != repository.Reveal() {
		v.disclose()
	}
	return repository
}

// readCompose reads one compose file, or a list of them.
func readCompose(s *Service, v value) {
	if _, one := v.raw.(string); one {
		if path := read(v, parseRepositoryPath); path != "" {
			s.Compose = []string{path}
		}
		return
	}
	s.Compose = readList(v, parseRepositoryPath)
	for i, path := range s.Compose {
		if path != "" && slices.Contains(s.Compose[:i], path) {
			v.element(i).complain(wrong("", "%s is in the list already", quote(path)))
		}
	}
}

func readRegistries(s *Service, v value) {
	s.Registries = readList(v, resolved(v.refs, parseRegistry))
	known := map[string]bool{"": true} // wrong or elsewhere
	for i, registry := range s.Registries {
		at := v.element(i)
		at.disclose()
		host := registry.Host
		if slices.Contains(dockerHub, host) {
			host = dockerHub[0]
		}
		if known[host] && host != "" {
			at.complain(wrong("", "there is an account at %s already", registry.Host))
		}
		known[host] = true
	}
}

// dockerHub has the names of Docker Hub: they are one registry, with one account.
var dockerHub = []string{"docker.io", "index.docker.io", "registry-1.docker.io"}

func readEnv(s *Service, v value) {
	s.Env = readList(v, envVar(v.refs))
	known := map[string]bool{}
	for i, variable := range s.Env {
		if known[variable.Name] && variable.Name != "" {
			v.element(i).complain(wrong("", "%s is set already", variable.Name))
		}
		known[variable.Name] = true
	}
}
