package compose

import (
	"encoding/base64"
	"encoding/json"
	"path/filepath"

	"pgo/internal/atomicfile"
)

// Registry is where a service may pull from, and as whom.
type Registry struct {
	Host, User, Password string
}

// authKey is the key under which docker keeps a registry's credentials: its host, except for
// Docker Hub.
func authKey(host string) string {
	switch host {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		return "https://index.docker.io/v1/"
	}
	return host
}

// LogIn gives compose the registries' credentials, and the proxies for builds, in a file of this
// service alone, never on a command line: no other service's log-in is in the way.
func (p *Project) LogIn(registries []Registry) error {
	type auth struct {
		Auth string `json:"auth"`
	}
	auths := map[string]auth{}
	for _, r := range registries {
		auths[authKey(r.Host)] = auth{base64.StdEncoding.EncodeToString([]byte(r.User + ":" + r.Password))}
	}
	config := map[string]any{"auths": auths}
	if client := p.Proxies.client(); client != nil {
		config["proxies"] = map[string]any{"default": client}
	}
	content, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	if err := p.saveCA(); err != nil {
		return err
	}
	return atomicfile.Replace(filepath.Join(p.Home, "config.json"), append(content, '\n'), 0o600)
}
