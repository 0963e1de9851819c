package test

import (
	"testing"

	"pgo/test/rig"
)

// The engine keeps a volume as it was made, whatever a later commit says of it. So
// it is the volume that is held against the policy, with what its source leads to
// by then.
func TestVolumeOutlivesItsDefinition(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	file := func(volume string) string {
		return "services:\n  idle:\n    image: " + r.Busybox() + "\n    command: [sleep, \"86400\"]\n    init: true\n    volumes: [\"data:/data\"]\n" +
			"volumes:\n  data: " + volume + "\n"
	}
	commit := web.Push("a directory of the repository", rig.Files{
		"data/file":    "x\n",
		"compose.yaml": file(`{driver: local, driver_opts: {type: none, o: bind, device: "${PWD}/data"}}`),
	})
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	before := startedAt(t, web)

	web.Repo.Git("rm", "-r", "--quiet", "data")
	link(t, web.Repo.Dir, "data", "/")
	web.Push("the whole host", rig.Files{"compose.yaml": file("{external: true, name: " + web.Name + "_data}")})
	shows(t, pgod, web, "last:      refused", "volumes.data.driver_opts.device", "which is not in the repository")
	stays(t, web, before, "a refused commit")
}

// A build reads the stage, so that what leads into the checkout, where the commit
// is not yet, is refused: it could lead on from there.
func TestBuildThroughTheCheckout(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	link(t, web.Repo.Dir, "foo", "../docker")
	commit := web.Push("a link that nothing uses", r.Idle())
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)

	web.Repo.Git("rm", "--quiet", "foo")
	link(t, web.Repo.Dir, "link", checkout(pgod, web, "foo"))
	web.Push("a context that is a directory only in the new commit", rig.Files{
		"foo/file":     "x\n",
		"compose.yaml": "services:\n  idle:\n    build: {context: ./link, dockerfile_inline: \"FROM " + r.Busybox() + "\\nCOPY . /stolen\"}\n    command: [sleep, \"86400\"]\n    init: true\n",
	})
	shows(t, pgod, web, "last:      refused", "services.idle.build.context", "which is not in the repository")
}
