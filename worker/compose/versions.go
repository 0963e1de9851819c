package compose

import (
	"bytes"
	"context"
	"fmt"
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
	c, err := e.connect()
	if err != nil {
		return err
	}
	ping, err := c.Ping(ctx)
	if err != nil {
		return fmt.Errorf("cannot reach the Docker engine: %w", err)
	}
	if versions.LessThan(ping.APIVersion, minAPI) {
		return fmt.Errorf("the Docker engine has API %s and is too old: pgo needs engine 20.10 (API %s) or newer", ping.APIVersion, minAPI)
	}
	return nil
}
