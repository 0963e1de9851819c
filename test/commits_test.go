package test

import (
	"fmt"
	"net/http"
	"testing"

	"pgo/test/rig"
)

// A commit that cannot be deployed changes nothing that runs. The status shows what is wrong
// with it, and the next good one is deployed.
func TestBadCommits(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	commit := web.Push("good", r.Site(port, "good 0"))
	pgod := r.Start(web)
	r.Answers(port, "good 0")
	deployed(t, pgod, web, commit)

	registry := r.Registry()
	compose := r.Site(port, "good 0")["compose.yaml"]
	bad := []struct {
		name  string
		spoil func()
		words []string
	}{
		{"is not YAML", write(web, "compose.yaml", "services: [\n"), []string{"cannot deploy", "cannot resolve compose.yaml", "yaml"}},
		{"is not a compose file", write(web, "compose.yaml", "servces: {}\n"), []string{"cannot resolve compose.yaml", "servces"}},
		{"has no compose file", func() { web.Repo.Git("rm", "--quiet", "compose.yaml") }, []string{"the repository has no compose.yaml, compose.yml, docker-compose.yml, docker-compose.yaml"}},
		{"has an unknown image", write(web, "compose.yaml", compose+"  other:\n    image: "+registry.Address+"/nothing:1\n"), []string{"cannot pull the images of", registry.Address + "/nothing:1"}},
		{"does not build", write(web, "Dockerfile", "FROM scratch\nCOPY nothing /\n"), []string{"cannot build", "nothing"}},
	}
	for i, c := range bad {
		before := startedAt(t, web)
		c.spoil()
		head := web.Push(c.name, nil)
		shows(t, pgod, web, append(c.words, "deployed:  "+commit[:7], "head:      "+head[:7], "last:      failed", "error:")...)
		if got, err := rig.Get(port); err != nil || got != fmt.Sprintf("good %d", i) {
			t.Errorf("a commit that %s: the site answers %q, %v", c.name, got, err)
		}
		stays(t, web, before, "a commit that "+c.name)
		up := pgod.SSH(web.Key, web.Op("up"))
		if up.Code == 0 {
			t.Errorf("a commit that %s: up succeeds: %+v", c.name, up)
		}

		good := fmt.Sprintf("good %d", i+1)
		commit = web.Push(good, r.Site(port, good))
		deployed(t, pgod, web, commit)
		r.Answers(port, good)
		isFine(t, pgod, web)
	}
}

// write returns a function that spoils the commit with a file.
func write(s *rig.Service, name, content string) func() {
	return func() { s.Repo.Write(name, content) }
}

// A fault of the surroundings is tried again, not blamed on the commit: here a branch, a
// repository and a whole git server that do not exist yet.
func TestRepositoryIsNotThereYet(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, operator := r.Service("web"), r.Key("operator")
	server := moodyServer(t, web)
	server.mood.Store(http.StatusNotFound)
	pgod := r.Pgod(web)
	pgod.Operators(operator)
	pgod.Start()
	showsTo(t, pgod, operator, web, "the repository was not found; check `repository`")
	// No key of the service can be known yet; an operator is told what is wrong.
	says(t, pgod.SSH(operator, web.Op("git hash")).Exits(t, 409%256).Stderr, "nothing is fetched yet")

	server.mood.Store(http.StatusOK)
	showsTo(t, pgod, operator, web, "it is empty", "push a commit")
	web.Push("elsewhere", r.Idle())
	web.Repo.Git("branch", "--move", "trunk")
	showsTo(t, pgod, operator, web, `there is no branch "main", only trunk; set `+"`branch`")
	web.Repo.Git("branch", "main")
	rig.Until(t, "the service to run", rig.Running(web.Name, 1))
}

// With the git server gone, what runs keeps running and can be controlled, also
// after a restart.
func TestGitServerIsDown(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	server := moodyServer(t, web)
	commit := web.Push("first", r.Idle())
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	before := startedAt(t, web)

	server.mood.Store(http.StatusBadGateway)
	pgod.Restart()
	pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
	shows(t, pgod, web, "deployed:  "+commit[:7], "error:", "its server answers 502")
	stays(t, web, before, "a restart without the git server")
	pgod.SSH(web.Key, web.Op("git pull")).Exits(t, 502%256)
	pgod.SSH(web.Key, web.Op("down")).Exits(t, 0)
	pgod.SSH(web.Key, web.Op("up")).Exits(t, 0)
	if err := rig.Running(web.Name, 1)(); err != nil {
		t.Error(err)
	}
}
