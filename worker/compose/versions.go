package compose

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/versions"
)

// The oldest versions that do what pgo relies on.
const (
	minCompose = "2.35"
	minAPI     = "1.41" // of engine 20.10
)

// CheckVersion returns an error if compose is too old, or cannot be asked.
func (p *Project) CheckVersion(ctx context.Context) error {
	cmd, err := p.command(p.Home, false, []string{"version", "--short"})
	if err != nil {
		return err
	}
	var stdout bytes.Buffer
	if err := p.run(ctx, cmd, Output{Stdout: &stdout}, "version", maxCPU); err != nil {
		return err
	}
	said := strings.TrimSpace(stdout.String())
	number := strings.TrimPrefix(said, "v")
	if i := strings.IndexAny(number, "-+ "); i >= 0 {
		number = number[:i]
	}
	if versions.LessThan(number, minCompose) {
		return fmt.Errorf("docker compose %s (%s) is too old: pgo needs %s or newer", said, cmd.Path, minCompose)
	}
	return nil
}

// CheckVersion returns an error if the engine is too old, or does not answer.
func (e *Engine) CheckVersion(ctx context.Context) error {
	api, err := e.newestAPI(ctx)
	if err != nil {
		return err
	}
	if versions.LessThan(api, minAPI) {
		return fmt.Errorf("the Docker engine has API %s and is too old: pgo needs engine 20.10 (API %s) or newer", api, minAPI)
	}
	return nil
}

// newestAPI returns the newest version of its API that the engine has.
func (e *Engine) newestAPI(ctx context.Context) (string, error) {
	c, err := e.connect()
	if err != nil {
		return "", err
	}
	ping, err := c.Ping(ctx)
	if err != nil {
		return "", fmt.Errorf("cannot reach the Docker engine: %w", err)
	}
	return ping.APIVersion, nil
}

// newKeys are what compose does not hand to an engine with an older API. It says so only when it
// creates the container, and then what ran has ended.
var newKeys = []struct {
	key, api, engine string
	has              func(service map[string]any) bool
}{
	{"healthcheck.start_interval", "1.44", "25", func(service map[string]any) bool {
		check, _ := service["healthcheck"].(map[string]any)
		return check["start_interval"] != nil
	}},
	{"networks.interface_name", "1.49", "28.1", func(service map[string]any) bool {
		for _, network := range objects(service["networks"]) {
			if network["interface_name"] != nil {
				return true
			}
		}
		return false
	}},
	{"volumes.type: image", "1.48", "28", func(service map[string]any) bool {
		volumes, _ := service["volumes"].([]any)
		return slices.ContainsFunc(volumes, func(v any) bool {
			volume, _ := v.(map[string]any)
			return volume["type"] == "image"
		})
	}},
}

// tooNew returns an error if a compose service has a key that an engine with the API lacks.
func tooNew(m *Model, api string) error {
	services := m.services()
	for _, name := range slices.Sorted(maps.Keys(services)) {
		for _, k := range newKeys {
			if versions.LessThan(api, k.api) && k.has(services[name]) {
				return fmt.Errorf("services.%s.%s needs Docker engine %s or newer (API %s), and the one here has API %s: leave it out, or upgrade the engine",
					name, k.key, k.engine, k.api, api)
			}
		}
	}
	return nil
}

// TooNew returns an error if the engine is too old for a key of the model.
func (e *Engine) TooNew(ctx context.Context, m *Model) error {
	api, err := e.newestAPI(ctx)
	if err != nil {
		return err
	}
	return tooNew(m, api)
}
