package compose

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Registry is where a service may pull from, and as whom.
type Registry struct {
	Host, User, Password string
}

// LogIn makes the registries' credentials known to compose: in a file of this
// service alone, so that no other one's log-in is in the way, and never on a
// command line.
func (p *Project) LogIn(registries []Registry) error {
	type auth struct {
		Auth string `json:"auth"`
	}
	auths := map[string]auth{}
	for _, r := range registries {
		auths[r.Host] = auth{base64.StdEncoding.EncodeToString([]byte(r.User + ":" + r.Password))}
	}
	content, err := json.MarshalIndent(map[string]any{"auths": auths}, "", "  ")
	if err != nil {
		return err
	}
	file := filepath.Join(p.Home, "config.json")
	if err := renameio.WriteFile(file, append(content, '\n'), 0o600, renameio.WithTempDir(p.Home)); err != nil {
		return fmt.Errorf("cannot write the registries' credentials: %w", err)
	}
	return nil
}
