package test

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"pgo/test/rig"
)

// A submodule is fetched from the repository's own server. From another server it is fetched
// once the operator lists that one, without a new commit.
func TestSubmoduleOfAnotherServer(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, lib := r.Service("web"), r.Service("lib") // each has a server of its own
	head := lib.Push("a library", rig.Files{"page.html": "from the library\n"})
	address := lib.Setting("repository").(string)
	server, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	entry := "submodule:http://" + server.Host

	web.Repo.Write(".gitmodules", "[submodule \"lib\"]\n\tpath = lib\n\turl = "+address+"\n")
	if err := os.Mkdir(filepath.Join(web.Repo.Dir, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	web.Repo.Git("update-index", "--add", "--cacheinfo", "160000,"+head+",lib")
	commit := web.Push("uses it", rig.Files{"compose.yaml": "services:\n  idle:\n    image: " + r.Busybox() +
		"\n    command: [sleep, \"86400\"]\n    init: true\n    volumes: [\"./lib:/lib:ro\"]\n"})
	pgod := r.Start(web)
	shows(t, pgod, web, "state:     failed", "is on a different server than the repository", `an operator can allow = ["`+entry+`"]`)

	pgod.Configure(web.Set("allow", []string{entry}))
	pgod.Reload()
	deployed(t, pgod, web, commit)
	if got := docker(t, "exec", rig.Containers(t, web.Name)[0].ID, "cat", "/lib/page.html"); got != "from the library\n" {
		t.Errorf("the container sees %q", got)
	}
}
