package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgo/test/rig"
)

func TestFirstStart(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	commit := web.Push("first", r.Site(port, "hello"))
	pgod := r.Start(web)
	r.Answers(port, "hello")
	deployed(t, pgod, web, commit)

	for name, run := range map[string]func(*rig.Key, ...string) rig.Result{"ssh": pgod.SSH, "pgoctl": pgod.Pgoctl} {
		t.Run(name, func(t *testing.T) {
			if out := run(web.Key, web.Op("ping")).Exits(t, 0).Stdout; !strings.HasPrefix(out, "pong!") {
				t.Errorf("ping said %q", out)
			}
			if out := run(web.Key, web.Op("ps")).Exits(t, 0).Stdout; !strings.Contains(out, "site") || !strings.Contains(out, fmt.Sprint(port)) {
				t.Errorf("ps said %q", out)
			}
			if out := run(web.Key, web.Op("git hash")).Exits(t, 0).Stdout; out != commit+"\n" {
				t.Errorf("git hash said %q, not %s", out, commit)
			}
		})
	}
}

// A push is deployed; one that touches nothing the service uses restarts nothing, even where
// the whole repository is the build context.
func TestPush(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	files := r.Site(port, "one")
	web.Push("first", files)
	pgod := r.Start(web)
	r.Answers(port, "one")

	web.Push("second", r.Site(port, "two"))
	r.Answers(port, "two")

	before := startedAt(t, web)
	readme := web.Push("words only", rig.Files{"README.md": "nothing to run\n"})
	deployed(t, pgod, web, readme)
	stays(t, web, before, "a commit that touches only README")
	if text, err := os.ReadFile(filepath.Join(pgod.Dir, "services", web.Name, "checkout", "README.md")); err != nil || string(text) != "nothing to run\n" {
		t.Errorf("the checkout does not follow: %q, %v", text, err)
	}
}
