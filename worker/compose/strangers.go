package compose

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"

	"pgo/internal/printable"
)

// dirLabel is the label for the directory from which a container was made.
const dirLabel = "com.docker.compose.project.working_dir"

// Stranger is a container of a project that was made from another directory than the project's.
type Stranger struct {
	ID, Name string
	Dir      string // from which it was made, fit to be shown; empty: not known
}

// Strangers returns the containers with a project's name that were not made from dir or a
// directory below it, by name.
func (e *Engine) Strangers(ctx context.Context, project, dir string) ([]Stranger, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	summaries, err := c.containers(ctx, true, ofProject(project))
	if err != nil {
		return nil, err
	}
	return strangers(summaries, dir), nil
}

func strangers(summaries []container.Summary, dir string) []Stranger {
	var all []Stranger
	for _, summary := range summaries {
		from := summary.Labels[dirLabel]
		if inside, err := filepath.Rel(dir, from); err == nil && filepath.IsLocal(inside) {
			continue
		}
		s := Stranger{ID: summary.ID, Name: summary.ID, Dir: printable.Line(from)}
		if len(summary.Names) > 0 {
			s.Name = strings.TrimPrefix(summary.Names[0], "/")
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Stranger) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// SourceAt returns what a compose service mounts at a place in its containers: a path on the host,
// or the engine's name of a volume; empty: neither.
func SourceAt(m *Model, service, target string) string {
	for _, mounted := range list(m.services()[service]["volumes"]) {
		at, _ := mounted["target"].(string)
		if filepath.Clean(at) != target {
			continue
		}
		source, _ := mounted["source"].(string)
		if mounted["type"] == "volume" {
			source, _ = objects(m.root["volumes"])[source]["name"].(string)
		}
		return source
	}
	return ""
}
