package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pgo/test/rig"
)

// The setup of the README of miekg/pgo: root's service `default` has a Caddy and its network,
// which others with urls join. These come first here: they start once the network exists.
func TestProxy(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	one, two := r.Service("one"), r.Service("two")
	g := newGateway(r)
	g.service.User = &rig.User{Name: "root"}
	g.service.Set("reload", toldCommand)
	one.Set("urls", urls{
		"http://one.example.org": "one:8080", "one.example.org": "one:8080", "http://both.example.org": "one:8080 uno:8080",
		"http://many.example.org": "many:8080", "*.tls.example.org": "one:8080", "http://shared.example.org": "one:8080",
	})
	two.Set("urls", urls{"http://two.example.org": "two:8080", "http://shared.example.org/two": "two:8080", "http://*.wild.example.org": "two:8080"})
	ones := one.Push("first", rig.Files{"compose.yaml": strings.Replace(g.behind("many", "one", "uno"), "  many:\n", "  many:\n    scale: 2\n", 1)})
	twos := two.Push("first", rig.Files{"compose.yaml": g.behind("two")})
	commit := g.service.Push("first", g.files())

	pgod := r.Start(one, two)
	for _, s := range []*rig.Service{one, two} {
		shows(t, pgod, s, "network "+g.network+" is declared as external and does not exist yet")
	}
	pgod.Configure(one, two, g.service)
	deployed(t, pgod, g.service, commit)
	deployed(t, pgod, one, ones)
	deployed(t, pgod, two, twos)
	container := g.caddy(t)
	r.Trust(&g.front, container)

	t.Run("routes", func(t *testing.T) { g.routes(t) })
	t.Run("one of two is away", func(t *testing.T) { g.oneAway(t, pgod, one) })
	before := startedAt(t, g.service)
	if n := g.told(t); n != 0 {
		t.Errorf("it was told %d times about what it read when it started", n)
	}
	t.Run("another URL", func(t *testing.T) { g.another(t, pgod, one, two) })
	t.Run("cannot be told", func(t *testing.T) { g.cannotBeTold(t, pgod, one, two) })
	t.Run("worker killed", func(t *testing.T) { g.workerKilled(t, pgod, one, two) })
	pgod.Configure(one, g.service)
	rig.Until(t, "the URLs of a removed service to lead nowhere", func() error {
		if _, body, err := g.front.Get("http://five.example.org/"); err != nil || body != "" {
			return fmt.Errorf("there is %q, %v", body, err)
		}
		return nil
	})
	g.answers(t, "http://one.example.org/", "one ")
	g.knows(t, pgod)
	stays(t, g.service, before, "all of this")
}

// routes asks for the URLs.
func (g *gateway) routes(t *testing.T) {
	for url, want := range map[string]string{
		"http://one.example.org/":          "one ",
		"http://one.example.org/one/":      "below one\n",
		"https://one.example.org/":         "one ",
		"http://two.example.org/":          "two ",
		"http://shared.example.org/":       "one ",
		"http://shared.example.org/two/":   "below two\n",
		"http://ONE.example.org/":          "one ",
		"http://any.wild.example.org/":     "two ",
		"http://another.wild.example.org/": "two ",
		"https://any.tls.example.org/":     "one ",
	} {
		g.answers(t, url, want)
	}
	for _, url := range []string{
		"http://other.example.org/", "https://other.example.org/", "http://wild.example.org/", "http://a.b.wild.example.org/",
		"https://two.example.org/", fmt.Sprintf("http://127.0.0.1:%d/", 80),
	} {
		g.leadsNowhere(t, url)
	}
	strict := g.front
	strict.Trusted = nil
	if _, _, err := strict.Get("https://one.example.org/"); err == nil {
		t.Error("the certificate is not Caddy's own")
	}
	// Several targets, and several containers of one, share the requests.
	for url, prefixes := range map[string][]string{"http://both.example.org/": {"one ", "uno "}, "http://many.example.org/": {"many ", "many "}} {
		answers := map[string]bool{}
		rig.Until(t, url+" to be answered by two", func() error {
			_, body, err := g.front.Get(url)
			answers[body] = true
			if err == nil && len(answers) < 2 {
				err = fmt.Errorf("only by %v", answers)
			}
			return err
		})
		for body := range answers {
			if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(body, p) }) {
				t.Errorf("%s says %q", url, body)
			}
		}
	}
}

// oneAway loses no request to a target that is stopped, as long as there is another.
func (g *gateway) oneAway(t *testing.T, pgod *rig.Pgod, one *rig.Service) {
	pgod.SSH(one.Key, one.Op("stop"), "uno").Exits(t, 0)
	for range 6 {
		if _, body, err := g.front.Get("http://both.example.org/"); err != nil || !strings.HasPrefix(body, "one ") {
			t.Errorf("with one of two stopped: %q, %v", body, err)
		}
	}
	pgod.SSH(one.Key, one.Op("start"), "uno").Exits(t, 0)
}

// another checks that the proxy is told once about each change, and about nothing else.
func (g *gateway) another(t *testing.T, pgod *rig.Pgod, one, two *rig.Service) {
	begin := proxyOf(t, pgod, g.service)
	pgod.Configure(one, two.Set("urls", urls{"http://due.example.org": "two:8080"}), g.service)
	g.answers(t, "http://due.example.org/", "two ")
	g.leadsNowhere(t, "http://two.example.org/")
	if _, body, err := g.front.Get("http://shared.example.org/two/"); err != nil || strings.HasPrefix(body, "below") {
		t.Errorf("a path that no longer leads to two says %q, %v", body, err)
	}
	g.knows(t, pgod)
	polled(t, pgod, g.service)
	if n := g.told(t); n != 1 {
		t.Errorf("it was told %d times about one change", n)
	}
	now := proxyOf(t, pgod, g.service)
	if now.Proxy.Import != snippetFile || now.Proxy.WrittenAt.Before(begin.Proxy.WrittenAt) || now.Proxy.ReloadedAt.Before(now.Proxy.WrittenAt) {
		t.Errorf("the status is %+v", now.Proxy)
	}
	text := pgod.SSH(g.service.Key, g.service.Op("status")).Stdout
	if line := regexp.MustCompile(`(?m)^proxy: +caddy/Caddyfile-import written \w+ ago, reload: reloaded \w+ ago$`); !line.MatchString(text) {
		t.Errorf("the status says %q", text)
	}

	g.sameSnippet(t, pgod, one, two)
	g.tampered(t, pgod)
}

// sameSnippet checks that another order, another worker and another pgod do not make another
// snippet.
func (g *gateway) sameSnippet(t *testing.T, pgod *rig.Pgod, one, two *rig.Service) {
	file := checkout(pgod, g.service, snippetFile)
	before, worker := lies(t, file), pgod.WorkerPID(g.service)
	g.service.Set("interval", "900ms")
	pgod.Configure(g.service, two, one)
	replaced(t, pgod, g.service, worker)
	polled(t, pgod, g.service)
	pgod.Restart()
	polled(t, pgod, g.service)
	if now := lies(t, file); now != before {
		t.Errorf("the snippet was written again: %s, then %s", before, now)
	}
	if n := g.told(t); n != 1 {
		t.Errorf("it was told %d times about one change, in the end", n)
	}
}

// tampered has a container overwrite the snippet. It is restored, and read again.
func (g *gateway) tampered(t *testing.T, pgod *rig.Pgod) {
	file := checkout(pgod, g.service, snippetFile)
	docker(t, "exec", g.caddy(t), "sh", "-c", "echo 'http://mine.example.org {' >/etc/caddy/Caddyfile-import")
	rig.Until(t, "the snippet to be restored", func() error {
		text, err := os.ReadFile(file)
		if err == nil {
			err = has(string(text), "http://due.example.org {")
		}
		return err
	})
	rig.Until(t, "the proxy to be told", func() error {
		if n := g.told(t); n != 2 {
			return fmt.Errorf("it was told %d times", n)
		}
		return nil
	})
}

// cannotBeTold makes telling the proxy fail.
func (g *gateway) cannotBeTold(t *testing.T, pgod *rig.Pgod, one, two *rig.Service) {
	docker(t, "exec", g.caddy(t), "touch", "/tmp/fail")
	before := g.told(t)
	pgod.Configure(one, two.Set("urls", urls{"http://tre.example.org": "two:8080"}), g.service)
	shows(t, pgod, g.service, "state:     unwell", "proxy:     failed, "+snippetFile+" written ", ", reload: failed ", "cannot reload the proxy: ", "in caddy ended with status 3: not now")
	if now := proxyOf(t, pgod, g.service); now.Proxy.Reload != "failed" || has(now.Proxy.Error, "status 3: not now") != nil {
		t.Errorf("the status is %+v", now.Proxy)
	}
	rig.Until(t, "it to be tried again", func() error {
		if n := g.told(t); n < before+3 {
			return fmt.Errorf("it was told %d times", n-before)
		}
		return nil
	})
	if n := strings.Count(pgod.Log(), "the proxy does not know all URLs"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
	if strings.Contains(pgod.Log(), "3: not now") {
		t.Error("the output of the proxy's container is in the log of the host")
	}
	g.leadsNowhere(t, "http://tre.example.org/")
	docker(t, "exec", g.caddy(t), "rm", "/tmp/fail")
	g.answers(t, "http://tre.example.org/", "two ")
	g.knows(t, pgod)
}

// workerKilled kills the proxy's worker while it tells the proxy, and at an arbitrary moment.
func (g *gateway) workerKilled(t *testing.T, pgod *rig.Pgod, one, two *rig.Service) {
	before := g.told(t)
	docker(t, "exec", g.caddy(t), "touch", "/tmp/wait")
	pgod.Configure(one, two.Set("urls", urls{"http://four.example.org": "two:8080"}), g.service)
	rig.Until(t, "the proxy to be told", func() error {
		if g.told(t) == before {
			return fmt.Errorf("it was told %d times", before)
		}
		return nil
	})
	kill(t, pgod.WorkerPID(g.service))
	docker(t, "exec", g.caddy(t), "rm", "/tmp/wait")
	g.answers(t, "http://four.example.org/", "two ")
	g.knows(t, pgod)

	worker := pgod.WorkerPID(g.service)
	pgod.Configure(one, two.Set("urls", urls{"http://five.example.org": "two:8080"}), g.service)
	kill(t, worker)
	g.answers(t, "http://five.example.org/", "two ")
	g.knows(t, pgod)
}

// The snippet exists before Caddy starts, whatever happens to the checkout, and nothing else is
// written because of it.
func TestProxySnippetStays(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	g := newGateway(r)
	g.service.Set("urls", urls{"http://self.example.org": "caddy:8081"})
	says := func(text string) rig.Files {
		g.sites = "\n:8081 {\n\trespond \"" + text + "\"\n}\n"
		return g.files()
	}
	const url = "http://self.example.org/"
	first := g.service.Push("first", says("one"))
	pgod := r.Start(g.service)
	file := checkout(pgod, g.service, snippetFile)
	next := func(commit, text string) {
		t.Helper()
		deployed(t, pgod, g.service, commit)
		g.answers(t, url, text)
		if c := rig.Containers(t, g.service.Name); len(c) != 1 || c[0].RestartCount != 0 {
			t.Errorf("%s: Caddy did not start at once: %+v", text, c)
		}
	}
	next(first, "one")
	if want, now := fmt.Sprint("-rw-r--r-- of ", g.service.User.UID), lies(t, file); !strings.HasSuffix(now, want) {
		t.Errorf("the snippet is %s, not %s", now, want)
	}
	before := startedAt(t, g.service)
	next(g.service.Push("words only", rig.Files{"README.md": "words\n"}), "one")
	stays(t, g.service, before, "a commit of words only")
	next(g.service.Push("second", says("two")), "two")
	pgod.SSH(g.service.Key, g.service.Op("rollback")).Exits(t, 0)
	g.answers(t, url, "one")
	pgod.SSH(g.service.Key, g.service.Op("unfreeze")).Exits(t, 0)
	next(g.service.ForcePush("third", says("three")), "three")

	g.tracked(t, pgod)
	worker := pgod.WorkerPID(g.service)
	g.service.Set("deploy", "in-place")
	pgod.Configure()
	replaced(t, pgod, g.service, worker)
	next(g.service.Push("in place", says("four")), "four")
	g.links(t, pgod)
	g.answers(t, url, "four")
}

// tracked commits the snippet itself to the repository.
func (g *gateway) tracked(t *testing.T, pgod *rig.Pgod) {
	before := startedAt(t, g.service)
	g.service.Repo.Write(snippetFile, "http://evil.example.org {\n}\n")
	g.service.Repo.Git("add", "--force", snippetFile)
	commit := g.service.Repo.Commit("the snippet, too")
	const why = "the repository has " + snippetFile + ", which pgo writes"
	shows(t, pgod, g.service, "state:     failed", "head:      "+commit[:7], "last:      failed", why, "git rm --cached", ".gitignore")
	if text, err := os.ReadFile(checkout(pgod, g.service, snippetFile)); err != nil || has(string(text), "http://self.example.org {") != nil {
		t.Errorf("the snippet is %q, %v", text, err)
	}
	g.service.Repo.Git("rm", "--quiet", "--cached", snippetFile)
	commit = g.service.Push("but not the snippet", nil)
	deployed(t, pgod, g.service, commit)
	isFine(t, pgod, g.service)
	stays(t, g.service, before, "a commit with the snippet, and its end")
}

// links puts symlinks in the place of the snippet, and of its directory.
func (g *gateway) links(t *testing.T, pgod *rig.Pgod) {
	dir, file := checkout(pgod, g.service, "caddy"), checkout(pgod, g.service, snippetFile)
	bait := filepath.Join(g.r.Dir, "bait")
	if err := os.Mkdir(bait, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(bait, 0o777); err != nil {
		t.Fatal(err)
	}
	kept := map[string]string{"Caddyfile": lies(t, filepath.Join(dir, "Caddyfile")), "bait": lies(t, bait)}
	for what, c := range map[string]struct {
		make []string
		mend func() error
		says string
	}{
		"the snippet": {
			[]string{"docker", "exec", g.caddy(t), "sh", "-c", "rm /etc/caddy/Caddyfile-import && ln -s Caddyfile /etc/caddy/Caddyfile-import"},
			exec.Command("docker", "exec", g.caddy(t), "rm", "/etc/caddy/Caddyfile-import").Run,
			"cannot write " + snippetFile + ": it is a symbolic link, which pgo does not follow: remove it",
		},
		"its directory": {
			[]string{"sh", "-c", "mv " + dir + " " + dir + "-away && ln -s " + bait + " " + dir},
			// In one step: while there is nothing, the worker may make a directory.
			func() error {
				return errors.Join(unix.Renameat2(unix.AT_FDCWD, dir+"-away", unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE), os.Remove(dir+"-away"))
			},
			"cannot write " + snippetFile + ": caddy is not a directory, or is a symbolic link, which pgo does not follow: remove it",
		},
	} {
		rig.Run(t, exec.Command(c.make[0], c.make[1:]...)).Exits(t, 0)
		shows(t, pgod, g.service, "state:     unwell", "proxy:     failed, ", c.says)
		if err := c.mend(); err != nil {
			t.Fatal(err)
		}
		rig.Until(t, what+" to be right again", func() error {
			text, err := os.ReadFile(file)
			if err == nil {
				err = has(string(text), "http://self.example.org {")
			}
			if now := proxyOf(t, pgod, g.service); err == nil && (now.Proxy.Error != "" || now.State != "running") {
				err = fmt.Errorf("the status is %+v", now)
			}
			return err
		})
		if now := map[string]string{"Caddyfile": lies(t, filepath.Join(dir, "Caddyfile")), "bait": lies(t, bait)}; fmt.Sprint(now) != fmt.Sprint(kept) {
			t.Errorf("%s was a link, and something else was written: %v, then %v", what, kept, now)
		}
	}
}

// Without `reload`, Caddy watches for changes itself; in 2.6 it sees only the file that it is
// started with, not those that it imports. Settings that do not go together cause a warning.
func TestProxyWatches(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	one := r.Service("one")
	g := newGateway(r)
	g.command = "[caddy, run, --watch, --adapter, caddyfile, --config, /etc/caddy/Caddyfile-import]"
	g.mounts = []string{"./caddy/Caddyfile:/etc/caddy/Caddyfile", "./" + snippetFile + ":/etc/caddy/Caddyfile-import"}
	one.Set("urls", urls{"http://one.example.org": "one:8080", "http://un.example.org": "on:8080", "http://lone.example.org": "lone:8080"})
	first := g.service.Push("first", g.files())
	alone := strings.Replace(g.behind("lone", "one"), "    networks: [proxy]\n", "", 1)
	lone := one.Push("first", rig.Files{"compose.yaml": alone})
	pgod := r.Start(one, g.service)

	deployed(t, pgod, g.service, first)
	shows(t, pgod, g.service, "state:     running", "warning:   import: "+snippetFile+" is mounted as a file, and containers do not see it change: mount its directory")
	deployed(t, pgod, one, lone)
	g.answers(t, "http://one.example.org/", "one ")
	shows(t, pgod, one, "state:     running",
		"warning:   urls: http://lone.example.org leads to lone:8080, and lone is not on any network that a proxy can be on: have it join the proxy's",
		"urls: http://un.example.org leads to on:8080, and no compose service is called on (did you mean one?); there are lone, one")
	if now := proxyOf(t, pgod, one); len(now.Warnings) != 2 {
		t.Errorf("the warnings are %q", now.Warnings)
	}

	g.watches(t, pgod, one)
	for _, s := range []*rig.Service{one, g.service} {
		rig.Until(t, "no warning about "+s.Name, func() error {
			if now := proxyOf(t, pgod, s); now.Warnings != nil || now.State != "running" {
				return fmt.Errorf("its status is %+v", now)
			}
			return nil
		})
	}
}

// watches has Caddy mount the directory and read one new snippet after another by itself.
func (g *gateway) watches(t *testing.T, pgod *rig.Pgod, one *rig.Service) {
	const nobody = "no `reload` is configured"
	if strings.Contains(pgod.Log(), nobody) {
		t.Error("the log has a change where there was none")
	}
	g.mounts = []string{"./caddy/:/etc/caddy/"}
	deployed(t, pgod, g.service, g.service.Push("the directory", g.files()))
	deployed(t, pgod, one, one.Push("all of it", rig.Files{"compose.yaml": g.behind("lone", "one")}))
	before := startedAt(t, g.service)
	one.Set("urls", urls{"http://eins.example.org": "one:8080", "http://lone.example.org": "lone:8080"})
	pgod.Configure()
	g.answers(t, "http://eins.example.org/", "one ")
	g.answers(t, "http://lone.example.org/", "lone ")
	one.Set("urls", urls{"http://uno.example.org": "one:8080"})
	pgod.Configure()
	g.answers(t, "http://uno.example.org/", "one ")
	stays(t, g.service, before, "another snippet")
	if now := proxyOf(t, pgod, g.service); now.Proxy.Reload != "" || now.Proxy.Error != "" || now.Proxy.WrittenAt.IsZero() {
		t.Errorf("the status is %+v", now.Proxy)
	}
	if n := strings.Count(pgod.Log(), nobody); n != 1 {
		t.Errorf("the log says %d times that nobody is told", n)
	}
}

// A command that ends neither by itself nor on a hangup does not stay in the proxy's container:
// each new try would add another one, for ever.
func TestStubbornReload(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, proxy := r.Service("web"), r.Service("proxy")
	proxy.Set("import", "urls").Set("reload", `idle sh -c "trap '' HUP INT TERM; echo once >>/tmp/told; while :; do sleep 0.1; done"`)
	files := r.Idle()
	files[".gitignore"] = "urls\n"
	commits := []string{web.Push("first", r.Idle()), proxy.Push("first", files)}
	pgod := r.Start(web, proxy)
	deployed(t, pgod, web, commits[0])
	deployed(t, pgod, proxy, commits[1])
	before := startedAt(t, proxy)
	pgod.Configure(web.Set("urls", urls{"http://web.example.org": "idle:8080"}), proxy)
	shows(t, pgod, proxy, "reload: failed ", "it did not end within 30s")
	rig.Until(t, "it to be tried again", func() error {
		if said := docker(t, "exec", proxy.Name+"-idle-1", "cat", "/tmp/told"); said != "once\nonce\n" {
			return fmt.Errorf("it says %q", said)
		}
		return nil
	})
	if processes := docker(t, "top", proxy.Name+"-idle-1"); strings.Count(processes, "trap") != 1 {
		t.Errorf("the first still runs next to the second:\n%s", processes)
	}
	stays(t, proxy, before, "a command that does not end")
}

// If one of several containers cannot be told, the others still are. It is told as soon as it
// can be: a paused one continues with what it has read before.
func TestPausedProxyIsToldLater(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, proxy := r.Service("web"), r.Service("proxy")
	proxy.Set("import", "urls").Set("reload", "idle touch /tmp/told")
	files := r.Idle()
	files[".gitignore"] = "urls\n"
	files["compose.yaml"] += "    scale: 2\n"
	commits := []string{web.Push("first", r.Idle()), proxy.Push("first", files)}
	pgod := r.Start(web, proxy)
	deployed(t, pgod, web, commits[0])
	deployed(t, pgod, proxy, commits[1])
	first, second := proxy.Name+"-idle-1", proxy.Name+"-idle-2"
	told := func(container string) func() error {
		return func() error {
			return exec.Command("docker", "exec", container, "test", "-e", "/tmp/told").Run()
		}
	}
	docker(t, "pause", first)
	pgod.Configure(web.Set("urls", urls{"http://web.example.org": "idle:8080"}), proxy)
	rig.Until(t, "the second to be told", told(second))
	shows(t, pgod, proxy, "reload: failed ", "paused")
	docker(t, "unpause", first)
	rig.Until(t, "the first to be told", told(first))
	shows(t, pgod, proxy, "reload: reloaded ")
}
