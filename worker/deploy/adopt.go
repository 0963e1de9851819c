package deploy

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"pgo/internal/printable"
	"pgo/worker/compose"
)

// strangers returns a strangerError if nothing of the service was ever deployed on this engine, and
// there are containers of its compose project all the same: somebody has run docker compose by
// hand, and nobody has said yet that pgo may replace them. c is what would replace them. If it is
// nil, they would only be taken down, and nobody can say that about them.
func (d *deployer) strangers(ctx context.Context, c *candidate) error {
	state := d.store.snapshot()
	deployed := state.Deployed != nil && state.Deployed.Engine == d.engine.Host
	if d.cfg.Adopt && c != nil || deployed || state.Switching != nil {
		return nil
	}
	there, err := d.engine.Strangers(ctx, d.cfg.Name, d.files.checkout())
	if err != nil || len(there) == 0 {
		return err
	}
	held := &strangerError{project: d.cfg.Name, there: there, agreed: d.cfg.Adopt}
	if c == nil {
		return held
	}
	mounts, err := d.engine.Mounts(ctx, d.cfg.Name)
	if err != nil {
		return err
	}
	held.moves = moves(there, mounts, c.resolved)
	return held
}

// strangerError holds back a first deploy until an operator agrees, and down until that has come.
type strangerError struct {
	project string
	there   []compose.Stranger
	agreed  bool
	moves   []string // what the new containers would find elsewhere
}

func (e *strangerError) Error() string {
	var names, dirs []string
	for _, s := range e.there {
		names = append(names, s.Name)
		if s.Dir != "" && !slices.Contains(dirs, s.Dir) {
			dirs = append(dirs, s.Dir)
		}
	}
	from := ""
	if len(dirs) > 0 {
		from = ", from " + strings.Join(dirs, " and ")
	}
	until := "pgo leaves them alone until an operator sets adopt = true in the service's entry"
	if e.agreed {
		until = "pgo leaves them alone until its first deploy replaces them"
	}
	text := fmt.Sprintf("somebody else has started the containers of the compose project %s (%s%s): %s",
		e.project, strings.Join(names, ", "), from, until)
	if len(e.moves) > 0 {
		text += "; then " + strings.Join(e.moves, ", ")
	}
	return text
}

// maxMoves bounds how many mounts are listed.
const maxMoves = 20

// moves says which directories, files and volumes the containers of a model would have in place of
// those that the containers there have now. What is in them does not move by itself.
func moves(there []compose.Stranger, mounts []compose.Mount, model *compose.Model) []string {
	var all []string
	for _, m := range mounts {
		if !slices.ContainsFunc(there, func(s compose.Stranger) bool { return s.ID == m.Container }) {
			continue
		}
		is, will := m.Volume, compose.SourceAt(model, m.Service, filepath.Clean(m.Target))
		if is == "" {
			is = m.Source
		}
		if will == "" || will == is {
			continue
		}
		text := printable.Line(fmt.Sprintf("%s has %s at %s instead of %s", m.Service, will, m.Target, is))
		if !slices.Contains(all, text) { // several containers of one compose service
			all = append(all, text)
		}
	}
	slices.Sort(all)
	if more := len(all) - maxMoves; more > 0 {
		all = append(all[:maxMoves:maxMoves], fmt.Sprintf("and %d more", more))
	}
	return all
}
