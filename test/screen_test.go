package test

import (
	"testing"

	"pgo/test/rig"
)

// At a terminal pgoctl shows all services on a screen of their own, until the user leaves it.
func TestTopScreen(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, operator := r.Service("web"), r.Key("operator")
	commit := web.Push("first", r.Idle())
	pgod := r.Pgod(web)
	pgod.Operators(operator)
	pgod.Start()
	deployed(t, pgod, web, commit)

	s := sit(t, onTerminal(pgod)["pgoctl"](operator, "//top"), 160, 40)
	s.shows(`\x1b\[\?1049h`) // the terminal's other screen
	s.shows(web.Name)
	s.shows(commit[:7])
	pgod.SSH(web.Key, web.Op("down")).Exits(t, 0)
	s.shows(`down`)
	s.types("q")
	s.shows(`\x1b\[\?1049l`)
	s.ends(0)
}
