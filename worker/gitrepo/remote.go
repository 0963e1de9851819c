package gitrepo

import (
	"context"
	"io"
	"net"
	"net/url"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/net/http/httpproxy"

	"pgo/internal/lazyregexp"
)

// Remote says where a repository is and how to get in.
type Remote struct {
	// URL is https, http, ssh, git or file, or user@host:path. It may hold a token, as the
	// password or in place of the user's name.
	URL string
	// Key is the private key for SSH, in PEM.
	Key []byte
	// Submodules has the servers from which submodules may come besides the repository's own:
	// https://lib.example.org. An entry that gitserver.Parse does not accept has no effect.
	Submodules []string
	// Proxy has the proxies for http and https, whose URLs may hold passwords. Nothing is taken
	// from the environment.
	Proxy httpproxy.Config
	// CA is certificates in PEM of authorities that count for https, besides the system's.
	CA []byte
}

// String returns the URL without its credentials.
func (r Remote) String() string {
	a, err := parseAddress(r.URL)
	if err != nil {
		return "a repository with an invalid URL"
	}
	return a.String()
}

// GoString returns the same as String: a Remote is never printed with its secrets.
func (r Remote) GoString() string { return r.String() }

// upstream is a remote repository, in one of the ways to reach it.
type upstream interface {
	// refs returns the refs whose name begins with one of the prefixes, and maybe more.
	refs(ctx context.Context, prefixes ...string) (map[string]Hash, error)
	// pack returns a pack that holds the requested commit and its files. While it waits and while
	// the pack is read, it calls alive whenever something arrives.
	pack(ctx context.Context, alive func(), q query) (io.ReadCloser, error)
}

// query is what a remote is asked for.
type query struct {
	// want is the commit.
	want Hash
	// have are commits that are complete here. The server omits what they hold, and may send
	// deltas to it.
	have []Hash
	// any means that the commit need not be the newest one of a branch.
	any bool
}

// address is the parsed URL of a Remote.
type address struct {
	url            url.URL // without userinfo
	user, password string
}

// String returns the address without its userinfo.
func (a *address) String() string {
	if path, ok := a.shortPath(); ok {
		return a.url.Host + ":" + path
	}
	return a.url.String()
}

// shortPath returns the path of an address that has git's short form.
func (a *address) shortPath() (string, bool) {
	path, ok := strings.CutPrefix(a.url.Path, homePath)
	return path, ok && a.url.Scheme == "ssh" && a.url.Port() == ""
}

func (a *address) redactor() redactor {
	if a.url.Scheme == "ssh" && a.password == "" {
		return newRedactor("", "") // the user's name is a login, not a secret
	}
	return newRedactor(a.user, a.password)
}

// homePath is the beginning of an address's path that is relative to the login's home, as the
// short form's is.
const homePath = "/~/"

// scpLike matches git's short form for SSH: user@host:path.
var scpLike = lazyregexp.New(`^([^@/:\s]+)@([^/:\s]+):([^/].*)$`)

func parseAddress(raw string) (*address, error) {
	if m := scpLike.FindStringSubmatch(raw); m != nil {
		return &address{url: url.URL{Scheme: "ssh", Host: m[2], Path: homePath + m[3]}, user: m[1]}, nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The parser's own error text holds the URL, and that may hold a token.
		return nil, problem(nil, "`repository` is not a URL; write a token's special characters as %%xx")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, problem(nil, "`repository` has a ? or # in it, which git does not send; write it as %%3F or %%23")
	}
	a := &address{url: *u}
	if u.User != nil {
		a.user = u.User.Username()
		a.password, _ = u.User.Password()
		a.url.User = nil
	}
	return a, nil
}

// origin is the branch of a remote that a repository follows. It is set by newOrigin, then
// immutable.
type origin struct {
	branch  string
	address *address
	remote  upstream
	stall   time.Duration
	listed  servers // where submodules may come from, besides the repository's own server
	access
	url    string // without userinfo
	redact redactor
}

// access is what it takes to reach a server, besides its address.
type access struct {
	key        []byte
	knownHosts []string
	web        *web
}

func newOrigin(remote Remote, branch string, o options) (*origin, error) {
	if err := plumbing.NewBranchReferenceName(branch).Validate(); err != nil || branch == "" {
		return nil, problem(nil, "%q is not a valid branch name; check `branch`", branch)
	}
	a, err := parseAddress(remote.URL)
	if err != nil {
		return nil, err
	}
	r := &origin{
		branch: branch, address: a, stall: o.stall, listed: newServers(remote.Submodules),
		access: access{key: remote.Key, knownHosts: o.knownHosts}, url: a.String(), redact: append(a.redactor(), proxyRedactors(remote.Proxy)...),
	}
	if r.web, err = newWeb(remote.Proxy, remote.CA); err != nil {
		return nil, r.fail("cannot use", err)
	}
	if r.remote, err = r.connect(a); err != nil {
		return nil, r.fail("cannot use", err)
	}
	return r, nil
}

// connect returns the upstream at an address. It does not talk to it yet.
func (by access) connect(a *address) (upstream, error) {
	switch a.url.Scheme {
	case "https", "http":
		if a.url.Host == "" {
			return nil, problem(nil, "`repository` has no host")
		}
		return newHTTPRemote(a, by.web), nil
	case "ssh":
		return newSSHRemote(a, by.key, by.knownHosts)
	case "git":
		return streamed{dialGit(a)}, nil
	case "file":
		return localRemote(a.url.Path), nil
	}
	return nil, problem(nil, "`repository` must begin with https, http, ssh, git or file://")
}

// hostPort returns where to connect to.
func (a *address) hostPort(defaultPort string) string {
	port := a.url.Port()
	if port == "" {
		port = defaultPort
	}
	return net.JoinHostPort(a.url.Hostname(), port)
}

// repositoryPath returns the path as git sends it: one that begins with /~ is relative to a home.
func (a *address) repositoryPath() string {
	if path, ok := strings.CutPrefix(a.url.Path, homePath); ok {
		return path
	}
	if strings.HasPrefix(a.url.Path, "/~") {
		return a.url.Path[1:]
	}
	return a.url.Path
}

func defaultKnownHosts() []string {
	files := []string{"/etc/ssh/ssh_known_hosts"}
	// Not $HOME: a worker's is not its user's home.
	if me, err := user.Current(); err == nil && me.HomeDir != "" {
		files = append(files, filepath.Join(me.HomeDir, ".ssh", "known_hosts"))
	}
	return files
}
