package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgo/test/rig"
)

// What somebody removes or damages in a service's directory while it runs is noticed, made anew,
// and said to be lost.
func TestLostFiles(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port, operator := r.Service("web"), r.Port(), r.Key("operator")
	commit := web.Push("first", page(r, port, "one"))
	pgod := r.Pgod(web)
	pgod.Operators(operator)
	pgod.Start()
	deployed(t, pgod, web, commit)
	before, dir := startedAt(t, web), serviceDir(pgod, web)
	again := func(what string) {
		t.Helper()
		rig.Until(t, "what runs to be replaced after "+what, func() error {
			if err := rig.Running(web.Name, 1)(); err != nil {
				return err
			}
			if startedAt(t, web) == before {
				return errors.New("it is the same container")
			}
			return nil
		})
		deployed(t, pgod, web, commit)
		r.Answers(port, "one")
		before = startedAt(t, web)
	}

	model := filepath.Join(dir, "deployed.json")
	if err := os.Truncate(model, 0); err != nil {
		t.Fatal(err)
	}
	rig.Until(t, "the deployed model to be restored", func() error {
		if info, err := os.Stat(model); err != nil || info.Size() == 0 {
			return fmt.Errorf("%v, %w", info, err)
		}
		return nil
	})
	stays(t, web, before, "an emptied model")

	if err := os.RemoveAll(filepath.Join(dir, "checkout")); err != nil {
		t.Fatal(err)
	}
	again("its files were removed")
	says(t, pgod.Log(), "the checkout was removed or emptied")

	if err := os.RemoveAll(filepath.Join(dir, "repo.git")); err != nil {
		t.Fatal(err)
	}
	commit = web.Push("second", rig.Files{"README.md": "new\n"})
	deployed(t, pgod, web, commit)
	stays(t, web, before, "a lost repository")

	worker := pgod.WorkerPID(web)
	// The worker may be writing.
	rig.Until(t, "the directory to be gone", func() error { return os.RemoveAll(dir) })
	replaced(t, pgod, web, worker)
	again("its directory was removed")
	shows(t, pgod, web, "state:     running", "warning:   the service's directory was gone, and was made anew at", "`worker restart` ends this warning")
	pgod.SSH(operator, web.Op("worker restart")).Exits(t, 0)
	rig.Until(t, "the warning to end", func() error {
		if status := pgod.SSH(web.Key, web.Op("status")).Exits(t, 0).Stdout; strings.Contains(status, "warning:") {
			return errors.New(status)
		}
		return nil
	})

	// A state that cannot be read is not guessed.
	state := filepath.Join(dir, "state.json")
	if err := os.Truncate(state, 0); err != nil {
		t.Fatal(err)
	}
	kill(t, pgod.WorkerPID(web))
	shows(t, pgod, web, "state.json is damaged: repair it, or remove it to deploy afresh")
	stays(t, web, before, "an emptied state")
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	again("its state was removed")
}
