package test

import (
	"slices"
	"testing"

	"pgo/test/rig"
)

// The seed's GitLab job: with `ignore` nothing is deployed until somebody says
// pull, build and up, one after the other.
func TestGitLabJob(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web").Set("ignore", true), r.Port()
	first := web.Push("first", r.Site(port, "one"))
	pgod := r.Start(web)
	job := func() {
		t.Helper()
		for _, operation := range []string{"pull", "build", "up"} {
			// As a GitLab runner has it: the key in the environment, no file.
			step := pgod.PgoctlCommand(nil, web.Op(operation))
			step.Env = append(step.Env, "PGOCTL_ID="+web.Key.PEM)
			rig.Run(t, step).Exits(t, 0)
		}
	}
	shows(t, pgod, web, "head:      "+first[:7], "last:      held", "deployed:  -")
	if found := rig.Containers(t, web.Name); len(found) > 0 {
		t.Errorf("containers run though nobody said up: %+v", found)
	}
	job()
	r.Answers(port, "one")

	before := startedAt(t, web)
	second := web.Push("second", r.Site(port, "two").With("site", r.Site(port, "")["site"]+" "))
	shows(t, pgod, web, "head:      "+second[:7], "last:      held", "deployed:  "+first[:7])
	pgod.SSH(web.Key, web.Op("pull")).Exits(t, 0)
	pgod.SSH(web.Key, web.Op("build")).Exits(t, 0)
	stays(t, web, before, "pull and build")
	job()
	r.Answers(port, "two")
	deployed(t, pgod, web, second)

	pgod.SSH(web.Key, web.Op("down")).Exits(t, 0)
	if found := rig.Containers(t, web.Name); len(found) > 0 {
		t.Errorf("containers run after down: %+v", found)
	}
}

// `pull` and `up` pick up a tag that was moved in the registry, without any
// commit.
func TestMovedTag(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, registry := r.Service("web"), r.Registry()
	version := func(v string) string {
		return pushVersion(t, r, registry, v, "tool:latest")[0]
	}
	image := version("one")
	commit := web.Push("first", rig.Files{"compose.yaml": "services:\n  tool:\n    image: " + image + "\n    init: true\n    command: [sleep, '86400']\n"})
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	runs := func(v string) {
		t.Helper()
		found := rig.Containers(t, web.Name)
		if len(found) != 1 || !found[0].Running() || !slices.Contains(found[0].Config.Env, "VERSION="+v) {
			t.Errorf("what runs is not version %s: %+v", v, found)
		}
	}
	runs("one")

	version("two")
	pgod.SSH(web.Key, web.Op("pull")).Exits(t, 0)
	runs("one")
	pgod.SSH(web.Key, web.Op("up")).Exits(t, 0)
	runs("two")
	before := startedAt(t, web)
	pgod.SSH(web.Key, web.Op("pull")).Exits(t, 0)
	pgod.SSH(web.Key, web.Op("up")).Exits(t, 0)
	stays(t, web, before, "a tag that was not moved")

	// What the last three deploys do not run is removed, though its tag was moved.
	ids := []string{rig.Containers(t, web.Name)[0].ImageID}
	for _, v := range []string{"three", "four", "five"} {
		version(v)
		pgod.SSH(web.Key, web.Op("up"), "--pull", "always").Exits(t, 0)
		runs(v)
		ids = append(ids, rig.Containers(t, web.Name)[0].ImageID)
	}
	for n, id := range ids {
		if here := isThere(id); here != (n > 0) {
			t.Errorf("the image of version %d is here: %t", n+2, here)
		}
	}
}
