package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"

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
func unfinished(model *compose.Model, containers []container) []string {
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
	return names
}

// withNeeds returns the compose services and those unfinished ones that they
// depend on. Compose itself would run a job again that one of them waited for.
func (s *Service) withNeeds(ctx context.Context, services []string) ([]string, error) {
	model, err := s.loadDeployed()
	if err != nil {
		return nil, err
	}
	containers, err := s.containers(ctx)
	if err != nil {
		return nil, err
	}
	missing := unfinished(model, containers)
	all := slices.Clone(services)
	for _, name := range model.Needs(services) {
		if slices.Contains(missing, name) {
			all = append(all, name)
		}
	}
	return all, nil
}

func (s *Service) loadDeployed() (*compose.Model, error) {
	raw, err := os.ReadFile(s.deployedModel())
	if err != nil {
		return nil, fmt.Errorf("cannot read the deployed model: %w", err)
	}
	return compose.Load(raw)
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
