package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgo/test/rig"
)

// street is a repository of three sites, two of which serve a mounted file, and a job. Each
// part of it can be changed.
type street struct {
	r       *rig.Rig
	port    int
	page    string // mounted by left and right
	env     string // of left
	image   string // of right
	version string // of the whole file
	label   string // of last
	config  string // a config of last
	command string // of left, after its server has started; empty: none
}

func (s street) files() rig.Files {
	image := "    init: true\n    command: [httpd, -f, -p, '8080', -h, /www]\n    image: "
	left := image + s.r.Busybox() + "\n"
	if s.command != "" {
		left = "    init: true\n    command: [sh, -c, \"" + s.command + "\"]\n    image: " + s.r.Busybox() + "\n"
	}
	return rig.Files{
		"index.html": s.page,
		"config.txt": s.config,
		"compose.yaml": fmt.Sprintf(`x-gpo-version: %q
services:
  left:
%s    environment: {SETTING: %q}
    ports: ["127.0.0.1:%d:8080"]
    volumes: ["./index.html:/www/index.html:ro"]
  right:
%s%s
    volumes: ["./index.html:/www/page.html:ro"]
  last:
    image: %s
    init: true
    command: [sleep, '86400']
    labels: {version: %q}
    configs: [config]
  job:
    image: %s
    init: true
    command: [echo, done]
configs: {config: {file: ./config.txt}}
`, s.version, left, s.env, s.port, image, s.image, s.r.Busybox(), s.label, s.r.Busybox()),
	}
}

// In place, a commit replaces exactly what it changes. If it does not become healthy, exactly
// that is replaced again.
func TestInPlace(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web").Set("deploy", "in-place")
	now := street{r: r, port: r.Port(), page: "one", env: "1", image: r.Busybox(), version: "1", label: "1", config: "1"}
	commit := web.Push("first", now.files())
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	r.Answers(now.port, "one")
	before := byService(t, web)
	all := []string{"job", "last", "left", "right"}

	// next deploys a change, which gives the replaced services new containers, and no others.
	next := func(change string, replaced ...string) {
		t.Helper()
		commit = web.Push(change, now.files())
		deployed(t, pgod, web, commit)
		after := byService(t, web)
		if len(after) != len(all) {
			t.Errorf("%s: there are %+v", change, after)
		}
		for _, service := range all {
			if !slices.Contains(replaced, service) {
				same(t, change, before, after, service)
			} else if after[service].ID == before[service].ID {
				t.Errorf("%s: %s was not replaced", change, service)
			}
		}
		before = after
	}

	now.page = "two"
	next("a file that two mount", "left", "right")
	r.Answers(now.port, "two")
	now.env = "2"
	next("an environment", "left")
	now.image = r.Image("other", "FROM "+r.Busybox()+"\nLABEL other=yes\n")
	next("an image", "right")
	now.config = "2"
	next("a config", "last")
	now.label = "2"
	next("a label", "last")
	now.version = "2"
	next("the file's version", all...)

	good := now
	now.page, now.command = "three", "exit 7"
	bad := web.Push("left does not work", now.files())
	shows(t, pgod, web, "head:      "+bad[:7], "deployed:  "+commit[:7], "last:      degraded", "exited with 7", "went back to "+commit[:7])
	r.Answers(now.port, "two")
	same(t, "going back", before, byService(t, web), "last", "job")
	if err := runningOf(web, "last", "left", "right")(); err != nil {
		t.Error(err)
	}

	now = good
	now.page = "four"
	before = byService(t, web)
	next("one that works again", "left", "right")
	r.Answers(now.port, "four")
	rig.Until(t, "no error to be left when the deploy has ended", func() error {
		if status := pgod.SSH(web.Key, web.Op("status")).Stdout; strings.Contains(status, "error:") {
			return fmt.Errorf("the status is %s", status)
		}
		return nil
	})
}
