package compose

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// rehearsalLabel is the label of containers that are only made to find out whether they can be made.
const rehearsalLabel = "pgo.rehearsal"

// asksNothing has the keys of a compose service that no engine refuses when it creates a container.
var asksNothing = []string{
	"annotations", "attach", "build", "command", "container_name", "depends_on", "develop", "entrypoint", "environment", "expose",
	"healthcheck", "image", "labels", "links", "networks", "ports", "post_start", "pre_stop", "profiles", "pull_policy", "restart", "scale",
	"stop_grace_period", "stop_signal",
}

// AsksAnew reports whether a compose service of next asks the engine for something that it has not
// asked for before, and that the engine may refuse. before may be nil.
func AsksAnew(before, next *Model, service string) bool {
	if before == nil {
		return true
	}
	ask := func(m *Model) any {
		s := maps.Clone(m.services()[service])
		for _, key := range asksNothing {
			delete(s, key)
		}
		maps.DeleteFunc(s, func(key string, _ any) bool { return len(key) > 1 && key[:2] == "x-" })
		if deploy, ok := s["deploy"].(map[string]any); ok {
			deploy = maps.Clone(deploy)
			delete(deploy, "replicas")
			s["deploy"] = deploy
		}
		used := map[string]any{}
		for _, v := range list(s["volumes"]) {
			if name, ok := v["source"].(string); ok && v["type"] == "volume" {
				used[name] = objects(m.root["volumes"])[name]
			}
		}
		return []any{s, used}
	}
	return before.services()[service] == nil || !reflect.DeepEqual(ask(before), ask(next))
}

// CanRehearse reports whether a container of a compose service can be created next to those that
// there are: it has no part in those of others, which may be about to be replaced.
func CanRehearse(m *Model, service string) bool {
	s := m.services()[service]
	mode, _ := s["network_mode"].(string)
	return !sharesNamespace(s) && len(anyList(s["volumes_from"])) == 0 && !strings.HasPrefix(mode, "container:")
}

// Rehearsal returns a model in which these compose services have containers that may exist next to
// the real ones. They have neither networks nor ports, and leave volumes as they are.
func Rehearsal(m *Model, services []string) *Model {
	next := m.Clone()
	all := next.services()
	for name, s := range all {
		if !slices.Contains(services, name) {
			delete(next.root["services"].(map[string]any), name)
			continue
		}
		for _, key := range []string{"networks", "ports", "expose", "links", "external_links", "container_name", "mac_address", "depends_on", "scale", "build"} {
			delete(s, key)
		}
		s["network_mode"] = "none"
		for _, v := range list(s["volumes"]) {
			if v["type"] == "volume" {
				options, _ := v["volume"].(map[string]any)
				options = maps.Clone(options)
				if options == nil {
					options = map[string]any{}
				}
				options["nocopy"] = true // what the image has there is for the container that runs
				v["volume"] = options
			}
		}
		next.Label(name, rehearsalLabel, "1")
	}
	delete(next.root, "networks")
	return next
}

// Rehearsed returns those of the containers, as the engine describes them, that are a rehearsal's.
func Rehearsed(containers []map[string]any) []map[string]any {
	return slices.DeleteFunc(slices.Clone(containers), func(words map[string]any) bool {
		config, _ := words["Config"].(map[string]any)
		labels, _ := config["Labels"].(map[string]any)
		return labels[rehearsalLabel] == nil
	})
}

// EndRehearsal removes the containers of a rehearsal, and the volumes without a name that were made
// for them. They never ran.
func EndRehearsal(ctx context.Context, e *Engine, project string) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	found, err := c.containers(ctx, true, ofProject(project).Add("label", rehearsalLabel))
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range found {
		if s.State != container.StateCreated {
			continue // somebody has started it, and it may have data
		}
		if _, err := c.ContainerRemove(ctx, s.ID, client.ContainerRemoveOptions{RemoveVolumes: true}); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("cannot remove container %s, which was only made to see whether it can be: %w", s.ID, err))
		}
	}
	return errors.Join(errs...)
}
