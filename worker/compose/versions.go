package compose

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"
)

// TooOldError says what is too old for pgo.
type TooOldError struct{ text string }

func (e *TooOldError) Error() string { return e.text }

// CheckVersion returns an error if compose is too old, or cannot be asked.
func (p *Project) CheckVersion(ctx context.Context) error {
	_, err := p.version(ctx)
	return err
}

// CheckVersion returns an error if pgo and the engine have no version of its API in common, or it
// does not answer.
func (e *Engine) CheckVersion(ctx context.Context) error {
	newest, err := e.ping(ctx)
	isKnown := newest != "" || err == nil
	switch {
	case isKnown && versions.LessThan(newest, minAPI):
		return &TooOldError{fmt.Sprintf("the Docker engine has API %s and is too old: pgo needs engine %s (API %s) or newer", newest, minEngine, minAPI)}
	case err != nil:
		return fmt.Errorf("cannot reach the Docker engine: %w", err)
	case versions.LessThanOrEqualTo(newest, client.MaxAPIVersion):
		return nil
	}
	// It says the newest that it knows. How old a client may be, it says to one that asks something.
	c, err := e.connect()
	if err == nil {
		_, err = c.ServerVersion(ctx, client.ServerVersionOptions{})
	}
	if errdefs.IsInvalidArgument(err) {
		return fmt.Errorf("the Docker engine has API %s and refuses API %s, the newest that this pgo knows: "+
			"use a newer pgo, or a lower min-api-version in the engine's daemon.json: %w", newest, client.MaxAPIVersion, err)
	}
	return err
}

// ping returns the newest version of its API that the engine has. A client keeps the version that it
// has agreed on with the engine. One that replaced that engine since may refuse it: the next call gets
// a new client then.
func (e *Engine) ping(ctx context.Context) (newest string, err error) {
	c, err := e.connect()
	if err != nil {
		return "", err
	}
	said, err := c.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	if err != nil || said.APIVersion == "" {
		return said.APIVersion, err
	}
	agreed := client.MaxAPIVersion
	if versions.LessThan(said.APIVersion, agreed) {
		agreed = said.APIVersion
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client == c && c.ClientVersion() != agreed {
		_ = c.Close() // what is under way continues
		e.client, e.defaults = nil, nil
	}
	return said.APIVersion, nil
}

// newKeys are what an engine with an older API does not know. It ignores them, or compose refuses
// them, but only when it creates the container, and then what ran has ended.
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
	{"networks.gw_priority", "1.48", "28", func(service map[string]any) bool {
		for _, network := range objects(service["networks"]) {
			if network["gw_priority"] != nil {
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

// tooNew returns an error if the model has a key that an engine with the API lacks.
func tooNew(m *Model, api string) error {
	services := m.services()
	for _, name := range slices.Sorted(maps.Keys(services)) {
		for _, k := range newKeys {
			if versions.LessThan(api, k.api) && k.has(services[name]) {
				return olderEngine("services."+name+"."+k.key, k.engine, k.api, api)
			}
		}
	}
	for _, n := range NetworksOf(m) {
		if n.NoIPv4 && versions.LessThan(api, noIPv4API) {
			return olderEngine("networks."+n.Key+".enable_ipv4: false", "28", noIPv4API, api)
		}
	}
	return nil
}

// noIPv4API is the first version of the API with networks without IPv4.
const noIPv4API = "1.48"

func olderEngine(key, engine, wants, has string) error {
	return fmt.Errorf("%s needs Docker engine %s or newer (API %s), and the one here has API %s: leave it out, or upgrade the engine",
		key, engine, wants, has)
}

// TooNew returns an error if the engine is too old for a key of the model.
func (e *Engine) TooNew(ctx context.Context, m *Model) error {
	newest, err := e.ping(ctx)
	if err != nil {
		return fmt.Errorf("cannot reach the Docker engine: %w", err)
	}
	return tooNew(m, newest)
}
