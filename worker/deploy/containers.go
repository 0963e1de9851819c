package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"pgo/worker/compose"
)

// container is what `compose ps` says of one container.
type container struct {
	Service  string
	State    string // running, exited, …
	ExitCode int
}

// unfinished returns the compose services that lack a container which runs, or
// which has done its work.
func (s *Service) unfinished(containers []container) ([]string, error) {
	raw, err := os.ReadFile(s.deployedModel())
	if err != nil {
		return nil, fmt.Errorf("cannot read the deployed model: %w", err)
	}
	model, err := compose.Load(raw)
	if err != nil {
		return nil, err
	}
	fine := map[string]int{}
	for _, c := range containers {
		finished := c.State == "exited" && c.ExitCode == 0 && !model.StaysUp(c.Service)
		if c.State == "running" || finished {
			fine[c.Service]++
		}
	}
	var names []string
	for _, name := range model.Services() {
		if fine[name] < model.Replicas(name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// containers are the service's, stopped ones too.
func (s *Service) containers(ctx context.Context) ([]container, error) {
	var stdout bytes.Buffer
	if err := s.onDeployed(ctx, compose.Output{Stdout: &stdout}, "ps", "--all", "--format", "json"); err != nil {
		return nil, err
	}
	var containers []container
	for d := json.NewDecoder(&stdout); d.More(); {
		var c container
		if err := d.Decode(&c); err != nil {
			return nil, fmt.Errorf("cannot read what docker compose ps says: %w", err)
		}
		containers = append(containers, c)
	}
	return containers, nil
}
