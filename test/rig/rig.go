// Package rig sets up what pgo's end-to-end tests need: real Unix users, a real git server, a
// real registry, the real Docker engine and a running pgod, each with one call and each gone
// again when the test ends, however it ends.
//
//	func TestMain(m *testing.M) { rig.Main(m) }
//
//	func TestFirstStart(t *testing.T) {
//		r := rig.New(t)
//		web, port := r.Service("web"), r.Port()
//		web.Push("first", r.Site(port, "hello"))
//		pgod := r.Start(web)
//		r.Answers(port, "hello")
//		pgod.Pgoctl(web.Key, web.Op("ps")).Exits(t, 0)
//	}
//
// Everything a rig makes has a name that starts with the run's own prefix (pgo-t-…), so that
// tests can run next to each other, twice in a row, and next to containers that are not theirs.
package rig

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// Rig is one test's share of the machine.
type Rig struct {
	// Prefix starts the name of every user and service of this test.
	Prefix string
	// Dir is this test's own directory. Unlike t.TempDir it is where users without rights can
	// reach what is below, if its own mode lets them.
	Dir string

	t    testing.TB
	run  *run
	made []thing // outlives the process, and is removed when the test ends
}

type thing struct {
	kind kind
	name string
}

// rigs counts the rigs of this process, to name them.
var rigs atomic.Int32

// New returns a rig for t. It ends the test where the machine does not have what it needs.
func New(t testing.TB) *Rig {
	t.Helper()
	if err := machineFit(); err != nil {
		t.Fatalf("the end-to-end tests need root and a Docker engine; run `make test` as root, which installs and starts the engine: %v", err)
	}
	run, err := theRun()
	if err != nil {
		t.Fatal(err)
	}
	prefix := fmt.Sprintf("%s-%d", run.name, rigs.Add(1))
	r := &Rig{Prefix: prefix, Dir: filepath.Join(run.dir, prefix), t: t, run: run}
	r.mkdir(r.Dir, 0o755)
	t.Cleanup(r.end)
	return r
}

// end removes what was made and the rig's directory. It runs after all else of
// the test, so a mount that is still there was forgotten by someone.
func (r *Rig) end() {
	for _, remover := range removers {
		for _, thing := range r.made {
			if thing.kind != remover.kind {
				continue
			}
			if err := r.run.remove(thing.kind, thing.name); err != nil {
				r.t.Error(err)
			}
		}
	}
	mounts, err := mountsBelow(r.Dir)
	if err != nil {
		r.t.Error(err)
	}
	for _, mount := range mounts {
		r.t.Errorf("%s is still mounted after the test", mount)
	}
	if len(mounts) > 0 {
		return
	}
	if err := os.RemoveAll(r.Dir); err != nil {
		r.t.Errorf("cannot remove the test's directory: %v", err)
	}
}

// remember has the run remove the thing when the test ends, or when the next run begins if this
// process is killed before.
func (r *Rig) remember(kind kind, name string) {
	r.t.Helper()
	if err := r.run.note(kind, name); err != nil {
		r.t.Fatal(err)
	}
	r.made = append(r.made, thing{kind, name})
}

// mkdir makes a directory with exactly the mode, whatever the umask is.
func (r *Rig) mkdir(dir string, mode os.FileMode) {
	r.t.Helper()
	if err := os.Mkdir(dir, mode); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		r.t.Fatal(err)
	}
}

// write makes a file with exactly the mode, whatever the umask is.
func (r *Rig) write(file, content string, mode os.FileMode) {
	r.t.Helper()
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		r.t.Fatal(err)
	}
}
