package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgo/test/rig"
)

// A commit that asks for more than it may is refused as a whole, with everything that is wrong
// with it, and what runs is not disturbed. Once an operator allows it, no new commit is needed.
func TestRefusedCommit(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port, other := r.Service("web"), r.Port(), r.Port()
	web.Set("ports", []string{fmt.Sprint(port)}).Set("networks", []string{r.Prefix + "-proxy"})
	web.Set("registries", []string{"robot:" + token + "@registry.example.org"})
	good := page(r, port, "one")
	first := web.Push("first", good)
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	r.Answers(port, "one")
	says(t, pgod.SSH(web.Key, web.Op("check")).Exits(t, 0).Stdout, first[:7]+": nothing is refused")
	before := startedAt(t, web)
	undisturbed := background(t, "the site to answer", func() error {
		got, err := rig.Get(port)
		if err == nil && got != "one" {
			err = fmt.Errorf("it answers %q", got)
		}
		return err
	})

	link(t, web.Repo.Dir, "hosts", "/etc")
	greedy := web.Push("asks for too much", page(r, port, "two").With("compose.yaml", good["compose.yaml"]+fmt.Sprintf(`      - ./hosts:/hosts:ro
      - ./data/sub:/sub
    privileged: true
    cap_add: [NET_ADMIN]
    networks: [default, foreign]
  second:
    image: %s
    ports: ["0.0.0.0:%d:80"]
  debug:
    image: %[1]s
    profiles: [debug]
    pid: host
networks:
  foreign: {external: true, name: %[3]s-foreign}
`, r.Busybox(), other, r.Prefix)))
	refusals := []string{
		"the policy refuses " + greedy[:7] + " for 7 reasons",
		`services.site.privileged: true is refused (allow = ["privileged"])`,
		`services.site.cap_add[0]: NET_ADMIN is refused (allow = ["cap_add:NET_ADMIN"])`,
		`services.site.volumes[2].source: ./hosts is refused: it leads to /etc, which is not in the repository (allow = ["bind:/etc"])`,
		`services.site.volumes[3].source: ./data/sub is refused: it is reached through ./data, which services.site.volumes[1].source makes writable (allow = ["nested-bind"])`,
		fmt.Sprintf(`services.second.ports[0].published: %d is refused: only %d (allow = ["port:%[1]d"])`, other, port),
		`services.debug.pid: host is refused`,
		fmt.Sprintf(`networks.foreign.name: %s-foreign is refused: only %s_* and %[1]s-proxy (allow = ["network:%[1]s-foreign"])`, r.Prefix, web.Name),
	}
	shows(t, pgod, web, append(refusals, "deployed:  "+first[:7], "head:      "+greedy[:7], "last:      refused")...)
	check := pgod.SSH(web.Key, web.Op("check")).Exits(t, 403%256)
	says(t, check.Stdout, refusals[1:]...)
	says(t, check.Stderr, refusals[0])
	for _, operation := range []string{"check", "pull", "up"} {
		told := pgod.Pgoctl(web.Key, web.Op(operation)).Exits(t, 78)
		says(t, told.Stdout+told.Stderr, append(refusals, "[ERROR] Process exited with status 403")...)
	}
	if now := statusOf(t, pgod, web); now.Pinned != nil || now.Outcome != "refused" || now.Error == nil || len(now.Error.Details) != 7 {
		t.Errorf("after a refused commit: %+v", now)
	}

	// What compose itself does not know, and what it must not read.
	for words, line := range map[string]string{
		"priviledged": "priviledged: true",
		"leads outside the repository: " + filepath.Join(serviceDir(pgod, web), "docker/config.json"): "env_file: [../docker/config.json]",
		"leads outside the repository: /dev/zero":                                                     "env_file: /dev/zero",
		"leads outside the repository: /etc/passwd":                                                   "extends: {file: /etc/passwd, service: root}",
	} {
		commit := web.Push(line, rig.Files{"compose.yaml": good["compose.yaml"] + "    " + line + "\n"})
		shows(t, pgod, web, "deployed:  "+first[:7], "head:      "+commit[:7], "last:      failed", words)
	}
	for _, secret := range spellings("robot", token) {
		if strings.Contains(pgod.Log(), secret) {
			t.Error("the log has the registry's password")
		}
	}

	wants := web.Push("wants some of it", page(r, port, "three").With("compose.yaml", good["compose.yaml"]+fmt.Sprintf("    cap_add: [NET_ADMIN]\n  second:\n    image: %s\n    init: true\n    command: [sleep, '86400']\n    ports: ['127.0.0.1:%d:80']\n", r.Busybox(), other)))
	shows(t, pgod, web, "the policy refuses "+wants[:7]+" for 2 reasons", "NET_ADMIN is refused", fmt.Sprint(other, " is refused"))
	web.Set("allow", []string{"cap_add:NET_ADMIN"})
	pgod.Configure()
	shows(t, pgod, web, fmt.Sprintf("error:     the policy refuses %s: services.second.ports[0].published: %d is refused", wants[:7], other))
	stays(t, web, before, "commits that are refused")
	undisturbed()
	web.Set("allow", []string{"cap_add:NET_ADMIN", fmt.Sprint("port:", other)})
	pgod.Configure()
	deployed(t, pgod, web, wants)
	r.Answers(port, "three")
	if n := switches(pgod, web, greedy); n != 0 {
		t.Errorf("the refused commit took what runs down %d times", n)
	}
}

// link makes a symlink, as a repository or a person may.
func link(t *testing.T, dir, name, target string) {
	t.Helper()
	if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// Compose writes a dollar sign as two. What is checked is what will be mounted, not a path of
// nearly the same name.
func TestPathsWithDollars(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	site := func(path string) rig.Files {
		f := page(r, port, "not this")
		return f.With("a$$b/index.html", "two dollars").With("compose.yaml", strings.Replace(f["compose.yaml"], "./index.html:/www/index.html", path+":/www", 1))
	}
	link(t, web.Repo.Dir, "a$b", "/etc")
	// In YAML, too, each dollar is written as two.
	first := web.Push("the directory", site("./a$$$$b"))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	r.Answers(port, "two dollars")

	second := web.Push("the symlink", site("./a$$b"))
	shows(t, pgod, web, "deployed:  "+first[:7], "last:      refused",
		"the policy refuses "+second[:7]+": services.site.volumes[0].source: ./a$b is refused: it leads to /etc,")
	r.Answers(port, "two dollars")
}

// Untracked files in the checkout count from the first look on: what was put there, perhaps by
// a container, is found before anything is taken down. They are looked at again right before
// each start.
func TestSwappedSource(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	first := web.Push("first", page(r, port, "one"))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)

	before := startedAt(t, web)

	// The container itself may write to ./data.
	const refusal = "services.site.volumes[1].source: ./data/more is refused: it leads to /etc, which is not in the repository"
	docker(t, "exec", rig.Containers(t, web.Name)[0].ID, "ln", "-s", "/etc", "/data/more")
	files := page(r, port, "two")
	second := web.Push("second", files.With("compose.yaml", strings.Replace(files["compose.yaml"], "./data:/data", "./data/more:/data", 1)))
	shows(t, pgod, web, "deployed:  "+first[:7], "last:      refused", "the policy refuses "+second[:7]+": "+refusal)
	r.Answers(port, "one")
	stays(t, web, before, "a refused commit")
	if n := switches(pgod, web, second); n != 0 {
		t.Errorf("it took what runs down %d times", n)
	}

	if err := os.Remove(checkout(pgod, web, "data/more")); err != nil {
		t.Fatal(err)
	}
	pgod.SSH(web.Key, web.Op("up")).Exits(t, 0)
	r.Answers(port, "two")
	deployed(t, pgod, web, second)

	// By now the engine has made it a directory, as compose asks it to.
	if err := os.Remove(checkout(pgod, web, "data/more")); err != nil {
		t.Fatal(err)
	}
	link(t, checkout(pgod, web, "data"), "more", "/etc")
	says(t, pgod.Pgoctl(web.Key, web.Op("up"), "--force-recreate", "site").Exits(t, 78).Stderr, refusal)
	docker(t, "rm", "--force", rig.Containers(t, web.Name)[0].ID)
	shows(t, pgod, web, "unwell:    cannot bring back site: the policy refuses "+second[:7]+": "+refusal)
	if found := rig.Containers(t, web.Name); len(found) > 0 {
		t.Errorf("it was brought back: %+v", found)
	}
}

// network makes a network that belongs to nobody. It is removed with the rest of the service.
func network(t *testing.T, r *rig.Rig, s *rig.Service, name string) string {
	t.Helper()
	full := r.Prefix + "-" + name
	docker(t, "network", "create", "--label", "com.docker.compose.project="+s.Name, full)
	return full
}

// What one service is granted no other may take, and once it is no longer granted, the others
// may have it at once: that needs no new commit and no new worker.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	owner, guest, port := r.Service("owner"), r.Service("guest"), r.Port()
	proxy := network(t, r, guest, "proxy")
	owner.Push("first", r.Idle())
	owner.Set("ports", []string{fmt.Sprintf("%d-%d", port-1, port+1)}).Set("urls", map[string]any{"www.example.org": "Api:8080"})
	first := guest.Push("first", r.Idle())
	pgod := r.Start(owner, guest)
	deployed(t, pgod, guest, first)
	worker := pgod.WorkerPID(guest)

	_, sshPort, _ := strings.Cut(pgod.Address, ":")
	site := page(r, port, "guest")
	second := guest.Push("second", site.With("compose.yaml", site["compose.yaml"]+fmt.Sprintf(`    networks: {default: {}, proxy: {aliases: [api]}}
  ssh:
    image: %s
    profiles: [never]
    ports: ["%s:22"]
networks:
  proxy: {external: true, name: %s}
`, r.Busybox(), sshPort, proxy)))
	const others = " is refused: it belongs to another service or to pgod"
	published := fmt.Sprint("services.site.ports[0].published: ", port, others)
	alias := "services.site.networks.proxy.aliases[0]: api is refused: on the network " + proxy + " it would get the traffic for the urls of " + owner.Name + ` (allow = ["name:api"])`
	shows(t, pgod, guest, "deployed:  "+first[:7], "last:      refused", second[:7]+" for 3 reasons", published, alias, "services.ssh.ports[0].published: "+sshPort+others)

	third := guest.Push("third", rig.Files{"compose.yaml": strings.Replace(guest.Repo.Git("show", "HEAD:compose.yaml"), `"`+sshPort+`:22"`, `"22"`, 1) + "\n"})
	shows(t, pgod, guest, "last:      refused", third[:7]+" for 2 reasons", published, alias)
	owner.Set("ports", []string{fmt.Sprint(port + 1)})
	pgod.Configure()
	shows(t, pgod, guest, "the policy refuses "+third[:7]+": "+alias)
	owner.Set("urls", map[string]any{"www.example.org": "web:8080"})
	pgod.Configure()
	deployed(t, pgod, guest, third)
	r.Answers(port, "guest")
	if now := pgod.WorkerPID(guest); now != worker {
		t.Errorf("another worker was needed: %d, then %d", worker, now)
	}

	// Taking a grant away leaves what runs alone, and is reported.
	before := startedAt(t, guest)
	owner.Set("ports", []string{fmt.Sprint(port)})
	pgod.Configure()
	shows(t, pgod, guest, "deployed:  "+third[:7], "last:      refused", published)
	stays(t, guest, before, "a grant to another service")

	// A rollback to it is refused, too.
	fourth := guest.Push("fourth", r.Idle())
	deployed(t, pgod, guest, fourth)
	before = startedAt(t, guest)
	says(t, pgod.Pgoctl(guest.Key, guest.Op("rollback"), third).Exits(t, 78).Stderr, published)
	stays(t, guest, before, "a rollback that is refused")
	if now := statusOf(t, pgod, guest); now.Deployed != fourth || now.Frozen != nil {
		t.Errorf("after a rollback that is refused: %+v", now)
	}
}
