package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pgo/test/rig"
)

// way is a way to a registry that can be shut.
type way struct{ shut atomic.Bool }

// through makes the registry reachable by a way that can be shut, under which its images are
// named.
func through(t *testing.T, registry *rig.Registry) *way {
	t.Helper()
	w := &way{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: registry.Address})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.shut.Load() {
			http.Error(rw, "shut", http.StatusBadGateway)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	registry.Address = strings.TrimPrefix(server.URL, "http://")
	return w
}

// A rollback needs neither the git server nor the registry: it runs exactly the images of then,
// whatever their names mean by now, and the branch is not followed until somebody says so.
func TestRollbackNeedsNobody(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	server, registry := moodyServer(t, web), r.Registry()
	toRegistry := through(t, registry)
	tool := func(version string) string {
		return registry.Push(r.Image("tool-"+version, "FROM "+r.Busybox()+"\nENV VERSION="+version+"\n"), "tool:latest")
	}
	image := tool("1")
	site := func(text string) rig.Files {
		f := baked(r, port, text)
		return f.With("compose.yaml", f["compose.yaml"]+"  tool:\n    image: "+image+"\n    init: true\n    command: [sleep, '86400']\n")
	}
	// runs returns the images that run, and reports an unexpected version.
	runs := func(text, version string) (ids []string) {
		t.Helper()
		r.Answers(port, text)
		for _, c := range rig.Containers(t, web.Name) {
			if c.Service() == "tool" && !slices.Contains(c.Config.Env, "VERSION="+version) {
				t.Errorf("the tool is not %s: %v", version, c.Config.Env)
			}
			ids = append(ids, c.ImageID)
		}
		return ids
	}
	first := web.Push("first", site("one"))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	begin := runs("one", "1")

	says(t, pgod.Pgoctl(web.Key, web.Op("rollback")).Exits(t, 68).Stderr, "there is no earlier good deploy to go back to; these are kept: "+first[:7], "[ERROR] Process exited with status 404")
	says(t, pgod.SSH(web.Key, web.Op("rollback"), "0123abc").Exits(t, 404%256).Stderr, "there is no good deploy of 0123abc to go back to; these are kept: "+first[:7])
	says(t, pgod.Pgoctl(web.Key, web.Op("rollback"), "HEAD^").Exits(t, 64).Stderr, "HEAD^")

	second := web.Push("second", site("two"))
	deployed(t, pgod, web, second)
	runs("two", "1")
	tool("2")
	pgod.Pgoctl(web.Key, web.Op("pull")).Exits(t, 0)
	pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 0)
	runs("two", "2")

	server.mood.Store(http.StatusBadGateway)
	toRegistry.shut.Store(true)
	shows(t, pgod, web, "its server answers 502")
	back := pgod.Pgoctl(web.Key, web.Op("rollback")).Exits(t, 0)
	says(t, back.Stderr, "deployed "+second[:7]+" again, and frozen: unfreeze follows the branch again")
	runs("two", "1")
	pgod.SSH(web.Key, web.Op("rollback"), first[:5]).Exits(t, 0)
	if now := runs("one", "1"); !slices.Equal(now, begin) {
		t.Errorf("it runs the images %v, not those of then: %v", now, begin)
	}
	shows(t, pgod, web, "deployed:  "+first[:7], "rollback by anyone: deployed again", "frozen:    by anyone: rollback to "+first[:7])
	// The name is not moved: it belongs to the newest build.
	if tag := strings.TrimSpace(docker(t, "image", "inspect", "--format", "{{.Id}}", web.Name+"-site")); slices.Contains(begin, tag) {
		t.Error("the usual name of the built image was moved")
	}

	says(t, pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 75).Stderr, "frozen by anyone: rollback to "+first[:7], "run unfreeze", "[ERROR] Process exited with status 409")
	// Frozen or not, what is removed comes back as it was, also after a restart.
	pgod.Restart()
	docker(t, append([]string{"rm", "--force"}, ids(rig.Containers(t, web.Name))...)...)
	rig.Until(t, "what was removed to run again", rig.Running(web.Name, 2))
	if now := runs("one", "1"); !slices.Equal(now, begin) {
		t.Errorf("it was brought back with the images %v, not with those of then: %v", now, begin)
	}
	server.mood.Store(http.StatusOK)
	shows(t, pgod, web, "deployed:  "+first[:7], "last:      frozen")
	pgod.SSH(web.Key, web.Op("unfreeze")).Exits(t, 0)
	deployed(t, pgod, web, second)
	runs("two", "2")
	if now := statusOf(t, pgod, web); now.Frozen != nil {
		t.Errorf("it is still frozen: %+v", now)
	}
}

func ids(containers []rig.Container) []string {
	var all []string
	for _, c := range containers {
		all = append(all, c.ID)
	}
	return all
}

// The last three good deploys are kept, images included, and nothing of those
// before them.
func TestThreeAreKept(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	var commits, images []string
	var pgod *rig.Pgod
	for i, text := range []string{"one", "two", "three", "four"} {
		if text == "four" {
			bad := baked(r, port, "bad")
			failed := web.Push("bad", bad.With("compose.yaml", bad["compose.yaml"]+"    command: [sh, -c, 'exit 1']\n"))
			shows(t, pgod, web, failed[:7]+" did not become healthy", "went back to "+commits[i-1][:7])
			r.Answers(port, "three") // though the name is the bad image's
		}
		commits = append(commits, web.Push(text, baked(r, port, text)))
		if i == 0 {
			pgod = r.Start(web)
		}
		deployed(t, pgod, web, commits[i])
		images = append(images, rig.Containers(t, web.Name)[0].ImageID)
	}
	kept := func(which ...string) {
		t.Helper()
		pins := strings.Fields(docker(t, "image", "ls", "--format", "{{.Tag}}", "--filter", "reference=pgo/"+web.Name))
		slices.Sort(pins)
		var want []string
		for _, commit := range which {
			i := slices.Index(commits, commit)
			want = append(want, commit[:7]+"-site-"+strings.TrimPrefix(images[i], "sha256:")[:12])
		}
		slices.Sort(want)
		if !slices.Equal(pins, want) {
			t.Errorf("kept are the images %v, not %v", pins, want)
		}
	}
	isFine(t, pgod, web) // once the old images are removed
	kept(commits[1:]...)
	left := strings.Fields(docker(t, "image", "ls", "--quiet", "--no-trunc", "--filter", "label=com.docker.compose.project="+web.Name))
	slices.Sort(left)
	if left = slices.Compact(left); len(left) != 3 || slices.Contains(left, images[0]) {
		t.Errorf("there are the images %v of the three %v", left, images[1:])
	}
	says(t, pgod.Pgoctl(web.Key, web.Op("rollback"), commits[0]).Exits(t, 68).Stderr,
		fmt.Sprintf("these are kept: %s, %s, %s", commits[3][:7], commits[2][:7], commits[1][:7]))

	// A rollback displaces none of the kept deploys.
	pgod.Pgoctl(web.Key, web.Op("rollback"), commits[1][:8]).Exits(t, 0)
	r.Answers(port, "two")
	kept(commits[1:]...)
	pgod.Pgoctl(web.Key, web.Op("rollback"), commits[3]).Exits(t, 0)
	r.Answers(port, "four")
	kept(commits[1:]...)

	// A deploy of which somebody has removed an image cannot be rolled back to, and nothing is
	// touched.
	before := startedAt(t, web)
	docker(t, "image", "rm", "--force", images[2])
	says(t, pgod.Pgoctl(web.Key, web.Op("rollback"), commits[2]).Stderr, "the image that site ran then is gone: somebody removed it")
	stays(t, web, before, "a rollback that cannot be")
	shows(t, pgod, web, "deployed:  "+commits[3][:7])
}

// A revert brings back what is running already. The name of the built image means the last
// build by then, but that one must not run.
func TestUpAfterARevert(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	first := web.Push("first", baked(r, port, "one"))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	deployed(t, pgod, web, web.Push("second", baked(r, port, "two")))
	pgod.SSH(web.Key, web.Op("rollback")).Exits(t, 0)
	r.Answers(port, "one")
	before := startedAt(t, web)
	revert := web.Push("revert", baked(r, port, "one"))
	pgod.SSH(web.Key, web.Op("unfreeze")).Exits(t, 0)
	deployed(t, pgod, web, revert)
	stays(t, web, before, "a revert to what runs")
	pgod.SSH(web.Key, web.Op("up")).Exits(t, 0)
	r.Answers(port, "one")
}

// A rollback passes the gate like any deploy, and pgo goes back if it fails. It also ends a
// down.
func TestRollbackFails(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web").Set("gate", "9m"), r.Port()
	files := page(r, port, "one")
	check := "    healthcheck: {test: [CMD-SHELL, '! test -e /data/new'], interval: 1s, retries: 1, timeout: 30s}\n"
	first := web.Push("first", files.With("compose.yaml", files["compose.yaml"]+check))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	second := web.Push("second", page(r, port, "two"))
	deployed(t, pgod, web, second)

	put(t, checkout(pgod, web, "data/new"), "the first cannot read this", 0o644)
	says(t, pgod.Pgoctl(web.Key, web.Op("rollback")).Exits(t, 76).Stderr, first[:7]+" did not become healthy", "went back to "+second[:7])
	r.Answers(port, "two")
	if now := statusOf(t, pgod, web); now.Deployed != second || now.Frozen != nil {
		t.Errorf("after a rollback that failed: %+v", now)
	}
	if last := history(t, pgod, web)[0]; last.Commit != first || last.Outcome != "degraded" || last.Trigger != "rollback by tester" || last.CanGoTo {
		t.Errorf("the history tells of it: %+v", last)
	}

	pgod.SSH(web.Key, web.Op("down")).Exits(t, 0)
	pgod.SSH(web.Key, web.Op("rollback"), second).Exits(t, 0)
	r.Answers(port, "two")
	shows(t, pgod, web, "wanted:    up", "deployed:  "+second[:7], "frozen:    by anyone: rollback to "+second[:7])
}

// While a service is frozen its branch is fetched and not deployed, across restarts, until
// somebody follows it again.
func TestFreeze(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	first := web.Push("first", page(r, port, "one"))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)

	pgod.Pgoctl(web.Key, "-l", "ada", web.Op("freeze"), "until the fair", "is over").Exits(t, 0)
	before := startedAt(t, web)
	second := web.Push("second", page(r, port, "two"))
	const frozen = "frozen:    by ada: until the fair is over (for "
	shows(t, pgod, web, frozen, "deployed:  "+first[:7], "head:      "+second[:7], "last:      frozen")
	if now := statusOf(t, pgod, web); now.Frozen == nil || now.Frozen.Reason != "by ada: until the fair is over" || now.Error != nil {
		t.Errorf("while it is frozen: %+v", now)
	}
	says(t, pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 75).Stderr, "frozen by ada: until the fair is over; run unfreeze to follow the branch again")
	pgod.SSH(web.Key, web.Op("up")).Exits(t, 409%256)
	pgod.Restart()
	polled(t, pgod, web)
	shows(t, pgod, web, frozen, "last:      frozen")
	stays(t, web, before, "a push to what is frozen")
	pgod.SSH(web.Key, web.Op("restart")).Exits(t, 0) // but what runs can be controlled
	r.Answers(port, "one")

	pgod.SSH(web.Key, web.Op("unfreeze")).Exits(t, 0)
	deployed(t, pgod, web, second)
	r.Answers(port, "two")
	says(t, pgod.SSH(web.Key, web.Op("unfreeze")).Exits(t, 0).Stderr, "not frozen: there is nothing to do")
}
