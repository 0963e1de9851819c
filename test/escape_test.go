package test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgo/test/rig"
)

// The engine keeps a volume as it was made, whatever a later commit says about it. So the
// existing volume is checked against the policy, with what its source leads to by then.
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

// A build reads the stage. So a path that leads into the checkout, which does not have the
// commit yet, is refused: it could lead elsewhere from there.
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

// Compose's builder runs git in the directory that it builds in. A commit may have a whole
// repository there, whose configuration makes git run a program: as the service's user, with
// the group docker.
func TestBuildStartsNoProgram(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	marker := filepath.Join(r.Dir, "open", "started")
	if err := errors.Join(os.Mkdir(filepath.Dir(marker), 0o777), os.Chmod(filepath.Dir(marker), 0o777)); err != nil {
		t.Fatal(err)
	}
	files := rig.Files{
		"HEAD": strings.Repeat("1", 40) + "\n", "objects/x": "", "refs/x": "",
		"config": "[core]\n\trepositoryformatversion = 1\n\tbare = false\n\tworktree = .\n[extensions]\n\tpartialClone = origin\n" +
			"[remote \"origin\"]\n\tpromisor = true\n\turl = .\n\tuploadpack = \"{ id; } >>" + marker + "; false\"\n",
		"compose.yaml": "services:\n  idle:\n    build: .\n    command: [sleep, \"86400\"]\n    init: true\n",
		"Dockerfile":   "FROM " + r.Busybox() + "\n",
	}
	// Git by itself does run the program: otherwise this test would prove nothing.
	tree := filepath.Join(r.Dir, "tree")
	for name, content := range files {
		put(t, filepath.Join(tree, name), content, 0o644)
	}
	git := exec.Command("git", "show", "HEAD", "--")
	git.Dir = tree
	if out, err := git.CombinedOutput(); err == nil {
		t.Fatalf("git shows a commit that does not exist: %s", out)
	}
	if err := os.Remove(marker); err != nil {
		t.Fatalf("git has not started the program: %v", err)
	}
	commit := web.Push("a repository in the repository", files)
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	if said, err := os.ReadFile(marker); err == nil {
		t.Errorf("a program of the commit was started: %s", said)
	}
}

// In place, a container that is about to be replaced must not be able to make a mount of the
// next ones lead elsewhere: it could do so when it is told to stop, after all checks.
func TestOldContainerSwapsAMount(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web").Set("deploy", "in-place")
	commit := web.Push("a container that swaps when it is stopped", rig.Files{
		"data/sub/f": "x\n",
		"compose.yaml": "services:\n  w:\n    image: " + r.Busybox() + "\n" +
			"    command: [sh, -c, \"trap 'rm -rf /d/sub; ln -s / /d/sub; exit 0' TERM; while :; do sleep 0.2; done\"]\n    volumes: [\"./data:/d\"]\n",
	})
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	web.Push("another that mounts what it can swap", rig.Files{
		"compose.yaml": "services:\n  b:\n    image: " + r.Busybox() + "\n    command: [sleep, \"86400\"]\n    init: true\n    volumes: [\"./data/sub:/h\"]\n",
	})
	shows(t, pgod, web, "services.b.volumes[0].source", "which is not in the repository", "went back to "+commit[:7])
	for _, c := range rig.Containers(t, web.Name) {
		if c.Service() == "b" {
			t.Errorf("it was started: %+v", c)
		}
	}
}
