package test

import (
	"fmt"
	"testing"

	"pgo/test/rig"
)

// `pull` chooses the commit that `build` and `up` act on, whatever is pushed in the meantime.
// Pushes are still fetched, and their keys count; after the `up` the branch is followed again.
func TestPullPins(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	first := web.Push("first", baked(r, port, "one"))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	r.Answers(port, "one")

	says(t, pgod.Pgoctl(web.Key, web.Op("pull")).Exits(t, 0).Stderr, "fetched "+first[:7], "build and up use "+first[:7]+" until ")
	newcomer := r.Key("newcomer")
	second := web.Push("second", baked(r, port, "two").With("ssh/newcomer.pub", newcomer.Public))
	shows(t, pgod, web, "head:      "+second[:7], "deployed:  "+first[:7], "pinned:    "+first[:7], "last:      held")
	pgod.SSH(newcomer, web.Op("ping")).Exits(t, 0)
	polled(t, pgod, web)
	if now := statusOf(t, pgod, web); now.Deployed != first || now.Pinned == nil || now.Pinned.Commit != first {
		t.Errorf("a poll has ignored the pin: %+v", now)
	}
	pgod.Restart() // it outlives the worker
	shows(t, pgod, web, "pinned:    "+first[:7], "worker:    ready")

	pgod.Pgoctl(newcomer, web.Op("build")).Exits(t, 0)
	says(t, pgod.Pgoctl(newcomer, web.Op("up")).Exits(t, 0).Stderr, "up to date")
	deployed(t, pgod, web, second)
	r.Answers(port, "two")
	if now := statusOf(t, pgod, web); now.Pinned != nil || now.Trigger != "poll" {
		t.Errorf("after the pin: %+v", now)
	}

	// A `pull` that fails chooses nothing.
	nothing := fmt.Sprintf("127.0.0.1:%d/nothing:1", r.Port())
	other := baked(r, port, "three")
	third := web.Push("third", other.With("compose.yaml", other["compose.yaml"]+"  other:\n    image: "+nothing+"\n"))
	if pull := pgod.Pgoctl(web.Key, web.Op("pull")); pull.Code == 0 {
		t.Errorf("an image that does not exist was pulled: %+v", pull)
	}
	shows(t, pgod, web, "head:      "+third[:7], "deployed:  "+second[:7])
	if now := statusOf(t, pgod, web); now.Pinned != nil {
		t.Errorf("a pull that failed has pinned: %+v", now)
	}
	deployed(t, pgod, web, web.Push("fourth", baked(r, port, "four")))
	r.Answers(port, "four")
}

// The seed's GitLab job of one commit, while the next is pushed in between. An
// `up` of some compose services deploys neither.
func TestPinnedJob(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web").Set("ignore", true), r.Port()
	first := web.Push("first", baked(r, port, "one"))
	pgod := r.Start(web)
	shows(t, pgod, web, "last:      held", "deployed:  -")
	pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 0)
	r.Answers(port, "one")

	second := web.Push("second", baked(r, port, "two"))
	pgod.Pgoctl(web.Key, web.Op("pull")).Exits(t, 0)
	third := web.Push("third", baked(r, port, "three"))
	shows(t, pgod, web, "head:      "+third[:7], "pinned:    "+second[:7], "last:      held")
	before := startedAt(t, web)
	pgod.Pgoctl(web.Key, web.Op("up"), "site").Exits(t, 0)
	stays(t, web, before, "up of what runs")
	docker(t, "rm", "--force", rig.Containers(t, web.Name)[0].ID)
	pgod.Pgoctl(web.Key, web.Op("up"), "site").Exits(t, 0)
	r.Answers(port, "one")
	shows(t, pgod, web, "deployed:  "+first[:7], "pinned:    "+second[:7])

	pgod.Pgoctl(web.Key, web.Op("build")).Exits(t, 0)
	pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 0)
	r.Answers(port, "two")
	shows(t, pgod, web, "deployed:  "+second[:7], "head:      "+third[:7], "last:      held")
	polled(t, pgod, web)
	r.Answers(port, "two")
	pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 0)
	deployed(t, pgod, web, third)
	r.Answers(port, "three")
}

// baked is a repository whose site has its text in the image that is built.
func baked(r *rig.Rig, port int, text string) rig.Files {
	return rig.Files{
		"index.html": text,
		"Dockerfile": "FROM " + r.Busybox() + "\nCOPY index.html /www/\nCMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n",
		"compose.yaml": fmt.Sprintf(`services:
  site:
    build: .
    init: true
    ports: ["127.0.0.1:%d:8080"]
`, port),
	}
}
