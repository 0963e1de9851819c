package config

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// Upstream is where the configuration is fetched from.
type Upstream struct {
	Repository SecretURL
	Branch     string
	Path       string // of the main file in the repository
	User       string // the user that the process that fetches it runs as
	GitKey     Secret // the private key itself, in PEM; empty: none
	CA         string // certificates in PEM of authorities that count besides the system's
	Proxies    Proxies
	Interval   time.Duration
}

var upstreamKeys = []key[Upstream]{
	{name: "repository", required: aRepository, read: func(u *Upstream, v value) { u.Repository = readRepository(v) }},
	{name: "branch", read: func(u *Upstream, v value) { u.Branch = read(v, parseBranch) }},
	{name: "path", read: func(u *Upstream, v value) { u.Path = read(v, parseRepositoryPath) }},
	{name: "user", read: func(u *Upstream, v value) { u.User = read(v, parseUpstreamUser) }},
	{name: "git_key", read: func(u *Upstream, v value) { u.GitKey = read(v, gitKey(v.refs)) }},
	{name: "ca", read: func(u *Upstream, v value) { u.CA = read(v, certificates(v.refs)) }},
	{name: "interval", read: func(u *Upstream, v value) { u.Interval = read(v, parseDuration) }},
}

// newUpstream returns the defaults.
func newUpstream(interval time.Duration) *Upstream {
	return &Upstream{Branch: "main", Path: "pgo.toml", User: "pgo-config", Interval: interval}
}

// readUpstream reads [upstream], which only the main file of this host may have: a configuration
// from git that leads to another one could go on for ever.
func (r *reader) readUpstream(v value) {
	switch {
	case v.file.remote:
		v.complain(wrong("leave it out", "this file is from git itself"))
		return
	case v.file.dropin:
		v.complain(wrong("move it to the main file", "only [[services]] is allowed here"))
		return
	}
	u := newUpstream(r.opts.DefaultInterval)
	readTable(v, "upstream.", upstreamKeys, u)
	checkGitKey(v, u.Repository)
	r.config.Upstream = u
}

func parseUpstreamUser(text string) (string, error) {
	if text == "root" {
		return "", wrong("make a user for it: useradd --system pgo-config", "what comes from a git server is not read as root")
	}
	return parseUser(text)
}

// checkUpstream finds services whose user also fetches the configuration.
func (r *reader) checkUpstream(services []placed) {
	if r.config.Upstream == nil {
		return
	}
	for _, s := range services {
		if s.User == r.config.Upstream.User && s.User != "" {
			s.at.key("user").complain(wrong("give the service a user of its own", "this user fetches the configuration from git: the service could forge it"))
		}
	}
}

// IsUpstream reports whether text means a configuration in git, not the path of a file.
func IsUpstream(text string) bool {
	scheme, _, found := strings.Cut(text, "://")
	return found && strings.HasPrefix(scheme, "git+")
}

// CheckPath returns an error if text is the URL of a repository and not the path of a file. The
// error shows no part of the URL, which may contain a token.
func CheckPath(text string) error {
	scheme, _, isURL := strings.Cut(text, "://")
	switch {
	case scpForm.MatchString(text):
		scheme = "ssh"
	case !isURL || !slices.Contains(schemes, strings.ToLower(scheme)):
		return nil
	}
	scheme = strings.ToLower(scheme)
	host, special := map[string]string{"ssh": "git@host", "file": ""}[scheme]
	if !special {
		host = "host"
	}
	hint := strings.Replace(upstreamForm, "https://host", scheme+"://"+host, 1)
	return Problems{problemOf("--config", 0, wrong(hint, "a URL, not the path of a file"))}
}

const upstreamForm = "write git+https://host/repository//pgo.toml?ref=branch"

// ParseUpstream reads git+https://host/repository//path?ref=branch. It must not contain a
// secret: everybody on this host can read a command line. Its error is Problems.
func ParseUpstream(text string) (*Upstream, error) {
	u, err := parseUpstream(text)
	if err != nil {
		return nil, Problems{problemOf("--config", 0, err)}
	}
	return u, nil
}

func parseUpstream(text string) (*Upstream, error) {
	u := newUpstream(time.Minute)
	_ = u.Proxies.addEnvironment(lookupEnv) // loading the files warns
	if strings.Contains(text, "#") {
		return nil, wrong("write ?ref=branch for a branch, and %23 for a # in a path", "a # in the URL")
	}
	text, query, _ := strings.Cut(strings.TrimPrefix(text, "git+"), "?")
	scheme, place, _ := strings.Cut(text, "://")
	repository, path, found := strings.Cut(place, "//")
	if account, _, ok := strings.Cut(place, "@"); ok && (scheme != "ssh" || strings.Contains(account, ":")) {
		return nil, wrong("write [upstream] in a local file, with file:/path as its repository", "a user name or token, which everybody on this host could read in the process list")
	}
	var err error
	if u.Repository, err = parseRepository(scheme + "://" + repository); err != nil {
		return nil, err
	}
	if !found && strings.HasSuffix(repository, ".toml") {
		return nil, wrong(upstreamForm, "no // between the repository and the path of the file in it")
	}
	if found {
		unescaped, err := url.PathUnescape(path)
		if err != nil || unescaped == "" {
			return nil, wrong(upstreamForm, "no file path after the //")
		}
		if u.Path, err = parseRepositoryPath(unescaped); err != nil {
			return nil, err
		}
	}
	parameters, err := url.ParseQuery(query)
	if err != nil || query != "" && (len(parameters) != 1 || len(parameters["ref"]) != 1 || parameters.Get("ref") == "") {
		return nil, wrong(upstreamForm, "only one ref=branch is allowed after the ?")
	}
	if query != "" {
		u.Branch, err = parseBranch(parameters.Get("ref"))
	}
	return u, err
}
