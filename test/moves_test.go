package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgo/test/rig"
)

// curious is a compose service that is restarted whenever it ends, as it does when alive
// disappears from what it mounts. It notes in ./log when it sees more than the repository
// there. slow takes its time to stop, and curious waits for it: so there is a gap between the
// move of the checkout and the end of curious.
func curious(r *rig.Rig, mount string) string {
	image := "    image: " + r.Busybox() + "\n"
	if mount != "" {
		mount = `"` + mount + `:/conf", `
	}
	return "services:\n  slow:\n" + image + "    stop_grace_period: 3s\n    command: [sh, -c, \"trap '' TERM; while :; do sleep 0.2; done\"]\n" +
		"    environment: {MOUNT: '" + mount + "'}\n" +
		"  curious:\n" + image + "    restart: always\n    init: true\n    depends_on: [slow]\n    volumes: [" + mount + "\"./log:/log\"]\n" +
		"    command: [sh, -c, 'test -e /conf/passwd && touch /log/stolen; date >>/log/starts; while test -e /conf/alive || test ! -e /conf; do sleep 0.1; done']\n"
}

// In place, the checkout moves while containers run, and the engine restarts a container that
// ends then with whatever its mounts lead to by now. So a container whose mounts would lead
// elsewhere is ended before the move.
func TestCheckoutMovesUnderAContainer(t *testing.T) {
	t.Parallel()
	for name, move := range map[string]func(s *rig.Service){
		"a directory becomes a symlink": func(s *rig.Service) {
			s.Repo.Git("rm", "-r", "--quiet", "conf")
			link(t, s.Repo.Dir, "conf", "/etc")
		},
		"one above it becomes a symlink": func(s *rig.Service) {
			s.Repo.Git("mv", "deep", "other")
			s.Repo.Git("rm", "-r", "-f", "--quiet", "other/er")
			link(t, s.Repo.Dir, "other/er", "/etc")
			link(t, s.Repo.Dir, "deep", "other")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rig.New(t)
			web := r.Service("web").Set("deploy", "in-place")
			mount := "./conf"
			if strings.Contains(name, "above") {
				mount = "./deep/er"
			}
			first := web.Push("it watches", rig.Files{
				"conf/alive": "x\n", "deep/er/alive": "x\n", "deep/file": "x\n", "log/.keep": "", "compose.yaml": curious(r, mount),
			})
			pgod := r.Start(web)
			deployed(t, pgod, web, first)
			log := checkout(pgod, web, "log")
			if err := os.Chmod(log, 0o777); err != nil {
				t.Fatal(err)
			}
			move(web)
			second := web.Push("it does not any more", rig.Files{"compose.yaml": curious(r, "")})
			shows(t, pgod, web, "deployed:  "+second[:7])
			if _, err := os.Lstat(filepath.Join(log, "stolen")); err == nil {
				t.Error("a container of the old model has seen /etc")
			}
			says(t, pgod.Log(), "removing a container before the checkout moves", "container="+web.Name+"-curious-1")
		})
	}
}

// A commit that deploys nothing moves the checkout as well: under a container that somebody has
// made by hand, for example.
func TestNotedCommitMovesTheCheckout(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	first := web.Push("a directory that the model does not use", r.Idle().With("side/file", "x\n"))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	before := startedAt(t, web)
	web.Push("a note", rig.Files{"README": "x\n"})
	rig.Until(t, "the note to be in the checkout", func() error { _, err := os.Stat(checkout(pgod, web, "README")); return err })
	stays(t, web, before, "a note")

	docker(t, "run", "--detach", "--init", "--restart", "always", "--label", "com.docker.compose.project="+web.Name, "--label", "com.docker.compose.service=idle",
		"--label", "com.docker.compose.oneoff=True", "--volume", checkout(pgod, web, "side")+":/side", r.Busybox(), "sleep", "86400")
	web.Repo.Git("rm", "-r", "--quiet", "side")
	link(t, web.Repo.Dir, "side", "/etc")
	web.Push("a way out", nil)
	rig.Until(t, "the link to be in the checkout", func() error { _, err := os.Readlink(checkout(pgod, web, "side")); return err })
	if by := docker(t, "ps", "--all", "--quiet", "--filter", "volume="+checkout(pgod, web, "side")); by != "" {
		t.Errorf("there still is a container that mounts the link: %s", by)
	}
	rig.Until(t, "the service to run", rig.Running(web.Name, 1))
}

// A bind mount of the old container is not passed on to the new one if the new model has an
// anonymous volume in its place.
func TestMountIsNotInherited(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web").Set("deploy", "in-place")
	files := func(volumes string) rig.Files {
		return rig.Files{"data/file": "x\n", "compose.yaml": fmt.Sprintf(
			"services:\n  idle:\n    image: %s\n    command: [sleep, \"86400\"]\n    init: true\n    volumes: [%s]\n", r.Busybox(), volumes)}
	}
	first := web.Push("a bind mount", files(`"./data:/data"`))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	mounted := func() string {
		return strings.TrimSpace(docker(t, "inspect", "--format", "{{range .Mounts}}{{.Type}}{{end}}", rig.Containers(t, web.Name)[0].ID))
	}
	second := web.Push("a volume without a name", files(`"/data"`))
	deployed(t, pgod, web, second)
	if got := mounted(); got != "volume" {
		t.Errorf("it mounts a %s", got)
	}

	// Going back takes the same way.
	pgod.SSH(web.Key, web.Op("rollback")).Exits(t, 0)
	if got := mounted(); got != "bind" {
		t.Errorf("after a rollback it mounts a %s", got)
	}
}

// A symlink into pgo's own stage leads into the new commit while that is checked, and elsewhere
// later. It is refused before anything is taken down.
func TestLinkIntoTheStage(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	first := web.Push("a commit", r.Idle())
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	before := startedAt(t, web)
	for _, target := range []string{filepath.Join(serviceDir(pgod, web), "stage", "data"), "../stage/data"} {
		if err := os.RemoveAll(filepath.Join(web.Repo.Dir, "link")); err != nil {
			t.Fatal(err)
		}
		link(t, web.Repo.Dir, "link", target)
		web.Push("a link to "+target, rig.Files{
			"data/file":    "x\n",
			"compose.yaml": "services:\n  idle:\n    image: " + r.Busybox() + "\n    command: [sleep, \"86400\"]\n    init: true\n    volumes: [\"./link:/data\"]\n",
		})
		shows(t, pgod, web, "last:      refused", "./link is refused: it leads to "+filepath.Join(serviceDir(pgod, web), "stage", "data"))
		stays(t, web, before, "a refused commit")
	}
}
