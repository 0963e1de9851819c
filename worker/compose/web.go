package compose

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"pgo/internal/atomicfile"
)

// Proxies is how builds reach servers over http and https.
type Proxies struct {
	HTTP, HTTPS string // URLs, which may hold passwords; empty: none
	No          string // hosts that are reached without one
}

// withoutFor returns the hosts that are reached without a proxy, an engine on the network among
// them: compose would look for the proxy on its way there.
func (p Proxies) withoutFor(engine string) string {
	u, err := url.Parse(engine)
	if err != nil || u.Scheme != "tcp" {
		return p.No
	}
	return strings.Trim(p.No+","+u.Hostname(), ",")
}

// environment returns the variables for compose itself, none without a proxy.
func (p Proxies) environment(engine string) []string {
	if p.HTTP == "" && p.HTTPS == "" {
		return nil
	}
	var env []string
	for name, value := range map[string]string{"HTTP_PROXY": p.HTTP, "HTTPS_PROXY": p.HTTPS, "NO_PROXY": p.withoutFor(engine)} {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// client returns the entry of docker's config.json, nil without a proxy.
func (p Proxies) client() map[string]string {
	if p.HTTP == "" && p.HTTPS == "" {
		return nil
	}
	entry := map[string]string{}
	for name, value := range map[string]string{"httpProxy": p.HTTP, "httpsProxy": p.HTTPS, "noProxy": p.No} {
		if value != "" {
			entry[name] = value
		}
	}
	return entry
}

// passwords returns those of the proxies, as they are and as they are written.
func (p Proxies) passwords() (all []string) {
	for _, raw := range []string{p.HTTP, p.HTTPS} {
		u, err := url.Parse(raw)
		if err != nil || u.User == nil {
			continue
		}
		password, _ := u.User.Password()
		if password == "" {
			password = u.User.Username() // a token
		}
		_, written, found := strings.Cut(u.User.String(), ":")
		if !found {
			written = u.User.String()
		}
		for _, text := range []string{written, password} {
			if text != "" {
				all = append(all, text)
			}
		}
	}
	return all
}

func (p *Project) caFile() string { return filepath.Join(p.Home, "ca.pem") }

// saveCA writes the certificates where compose finds them, or removes those of an earlier worker.
func (p *Project) saveCA() error {
	if len(p.CA) == 0 {
		if err := os.Remove(p.caFile()); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	}
	return atomicfile.Replace(p.caFile(), p.CA, 0o600)
}
