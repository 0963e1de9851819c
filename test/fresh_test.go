package test

import (
	"net/http"
	"testing"

	"pgo/test/rig"
)

// Whoever has just pushed and says up means that commit, not the one that a poll fetched last.
func TestOperationsFetchFirst(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web").Set("interval", "1h")
	server := moodyServer(t, web)
	commits := []string{web.Push("first", rig.Files{"compose.yaml": greeter(r, "web", "one")})}
	push := func(greeting string) string {
		commits = append(commits, web.Push(greeting, rig.Files{"compose.yaml": greeter(r, "web", greeting)}))
		return commits[len(commits)-1][:7]
	}
	pgod := r.Start(web)
	deployed(t, pgod, web, commits[0])

	second := push("two")
	check := pgod.SSH(web.Key, web.Op("check")).Exits(t, 0)
	says(t, check.Stderr, "fetched "+second)
	says(t, check.Stdout, second+": nothing is refused")
	third := push("three")
	diff := pgod.Pgoctl(web.Key, web.Op("diff")).Exits(t, 0)
	says(t, diff.Stderr, "fetched "+third)
	says(t, diff.Stdout, `"GREETING": "three"`)
	fourth := push("four")
	says(t, pgod.SSH(web.Key, web.Op("build")).Exits(t, 0).Stderr, "fetched "+fourth)
	fifth := push("five")
	says(t, pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 0).Stderr, "fetched "+fifth, "deployed "+fifth)
	runs(t, web, "five", "web")

	// Without the git server they work on what is here, and say how old that is.
	push("six")
	server.mood.Store(http.StatusBadGateway)
	alone := "; using " + fifth + ", the newest commit "
	for _, operation := range []string{"check", "diff", "build", "up"} {
		says(t, pgod.SSH(web.Key, web.Op(operation)).Exits(t, 0).Stderr, "cannot look at ", "its server answers 502", alone)
	}
	pgod.Pgoctl(web.Key, web.Op("down")).Exits(t, 0)
	says(t, pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 0).Stderr, alone, "Started")

	// A pull pins: nothing newer is fetched until up has ended that.
	server.mood.Store(http.StatusOK)
	pgod.Pgoctl(web.Key, web.Op("pull"), "--ignore-pull-failures").Exits(t, 0)
	sixth := commits[5][:7]
	push("seven")
	says(t, pgod.SSH(web.Key, web.Op("check")).Exits(t, 0).Stderr, "using "+sixth+", which tester pulled and which is pinned until ")
	says(t, pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 0).Stderr, "using "+sixth, "deployed "+sixth)
	runs(t, web, "six", "web")
}
