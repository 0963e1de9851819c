package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgo/test/rig"
)

// Services that are taken out of the configuration, and come back.

// keeper is a repository with a container that stores data in a volume.
func keeper(r *rig.Rig, greeting string) rig.Files {
	return rig.Files{"compose.yaml": `services:
  keeper:
    image: ` + r.Busybox() + `
    init: true
    command: [sleep, "86400"]
    environment: {GREETING: ` + greeting + `}
    volumes: ["store:/store"]
volumes:
  store: {}
`}
}

// removed returns the directories that the service left when it was removed.
func removed(t *testing.T, pgod *rig.Pgod, s *rig.Service) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(pgod.Dir, "removed", s.Name+"-2*Z"))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// isRemoved waits until the service is removed, and returns its new directory.
func isRemoved(t *testing.T, pgod *rig.Pgod, s *rig.Service) string {
	t.Helper()
	var dirs []string
	// A change that runs has ten seconds to end, the entry ten more to come back, and a
	// container ten to stop.
	rig.Within(t, 2*time.Minute, s.Name+" to be removed", func() error {
		if _, err := os.Lstat(serviceDir(pgod, s)); err == nil {
			return fmt.Errorf("its directory is where it was")
		}
		if dirs = removed(t, pgod, s); len(dirs) != 1 {
			return fmt.Errorf("it left %v", dirs)
		}
		return nil
	})
	if left := rig.Containers(t, s.Name); len(left) > 0 {
		t.Errorf("it is removed, and has containers: %+v", left)
	}
	return dirs[0]
}

// isBack reports what is left of the removal of a service that has come back.
func isBack(t *testing.T, pgod *rig.Pgod, s *rig.Service) {
	t.Helper()
	if left := removed(t, pgod, s); len(left) > 0 {
		t.Errorf("%s is back, and left %v", s.Name, left)
	}
	if n := strings.Count(pgod.Log(), "the service is back, with its earlier directory: service="+s.Name+" "); n == 0 {
		t.Error("that is not in the log")
	}
}

// A service that is removed is taken down, and its volume and directory are kept. When its
// entry comes back it has both again. No other service is affected.
func TestRemoval(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, calm, operator := r.Service("web"), r.Service("calm"), r.Key("operator")
	commit, other := web.Push("first", keeper(r, "hello")), calm.Push("first", r.Idle())
	pgod := r.Pgod(web, calm)
	pgod.Operators(operator)
	pgod.Start()
	deployed(t, pgod, web, commit)
	deployed(t, pgod, calm, other)
	before, worker := startedAt(t, calm), pgod.WorkerPID(calm)
	stop := pings(t, pgod, calm)
	docker(t, "exec", web.Name+"-keeper-1", "sh", "-c", "echo all that we have >/store/data")
	put(t, checkout(pgod, web, untracked), "and more", 0o600)

	pgod.Configure(calm)
	dir := isRemoved(t, pgod, web)
	for path, want := range map[string]struct {
		uid  int
		mode os.FileMode
	}{filepath.Dir(dir): {0, 0o700}, dir: {web.User.UID, 0o700}} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if uid := int(info.Sys().(*syscall.Stat_t).Uid); uid != want.uid || info.Mode() != want.mode|os.ModeDir {
			t.Errorf("%s belongs to %d and is %s", path, uid, info.Mode())
		}
	}
	if networks := docker(t, "network", "ls", "--quiet", "--filter", "name="+web.Name+"_"); networks != "" {
		t.Errorf("there still is a network: %s", networks)
	}
	rig.Until(t, "no process of the user to be left", web.User.Idle)
	says(t, pgod.SSH(web.Key, web.Op("ps")).Exits(t, 255).Stderr, "Permission denied")
	says(t, pgod.SSH(calm.Key, web.Op("ps")).Exits(t, 401%256).Stderr, "Unauthorized")
	says(t, pgod.SSH(operator, web.Op("ps")).Exits(t, 404%256).Stderr, "no service "+web.Name+" is configured")
	if status := pgod.SSH(operator, "//status", "--json").Exits(t, 0).Stdout; strings.Contains(status, web.Name) {
		t.Errorf("it is removed, and shown: %s", status)
	}
	says(t, pgod.Log(), "its containers are taken down", "the service is removed: its directory and its volumes are kept: service="+web.Name+" directory="+dir)

	pgod.Configure(web, calm)
	deployed(t, pgod, web, commit)
	rig.Until(t, "what was removed to run again", rig.Running(web.Name, 1))
	isBack(t, pgod, web)
	if data := docker(t, "exec", web.Name+"-keeper-1", "cat", "/store/data"); data != "all that we have\n" {
		t.Errorf("the volume has %q", data)
	}
	if data, err := os.ReadFile(checkout(pgod, web, untracked)); err != nil || string(data) != "and more" {
		t.Errorf("the checkout has %q: %v", data, err)
	}
	if n := len(history(t, pgod, web)); n != 1 {
		t.Errorf("its history has %d deploys", n)
	}
	stop()
	stays(t, calm, before, "the removal of another one")
	if now := pgod.WorkerPID(calm); now != worker {
		t.Errorf("the worker was replaced: %d, then %d", worker, now)
	}
}

// Under the name of a removed service another repository begins anew: nothing of the old one is
// started on the way. The data in the volume is still there.
func TestAnotherRepositoryBeginsAnew(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, calm, other := r.Service("web"), r.Service("calm"), r.Service("other")
	first := web.Push("first", keeper(r, "old"))
	calm.Push("first", r.Idle())
	second := other.Push("first", keeper(r, "new"))
	pgod := r.Start(web, calm)
	deployed(t, pgod, web, first)
	docker(t, "exec", web.Name+"-keeper-1", "sh", "-c", "echo all that we have >/store/data")
	pgod.Configure(calm)
	old := isRemoved(t, pgod, web)

	web.Set("repository", other.Setting("repository"))
	web.Key = other.Key
	pgod.Configure(web, calm)
	deployed(t, pgod, web, second)
	runs(t, web, "new", "keeper")
	if n := len(history(t, pgod, web)); n != 1 {
		t.Errorf("its history has %d deploys", n)
	}
	if data := docker(t, "exec", web.Name+"-keeper-1", "cat", "/store/data"); data != "all that we have\n" {
		t.Errorf("the volume has %q", data)
	}
	if left := removed(t, pgod, web); len(left) != 1 || left[0] != old {
		t.Errorf("there is %v", left)
	}
	says(t, pgod.Log(), "starts afresh: its earlier directory is of another repository or branch", "directory="+old)
}

// A service that was taken out of the configuration while pgod did not run is removed at its
// start. A service that is configured for another machine is not, as long as no entry names
// this machine: the host may have another name by mistake. On a reload it is certain.
func TestRemovalAtTheStart(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, calm, moved, operator := r.Service("web"), r.Service("calm"), r.Service("moved"), r.Key("operator")
	commits := map[*rig.Service]string{}
	for _, s := range []*rig.Service{web, calm, moved} {
		commits[s] = s.Push("first", r.Idle())
	}
	pgod := r.Pgod(web, calm, moved)
	pgod.Operators(operator)
	pgod.Flags = []string{"--machine", r.Prefix}
	pgod.Start()
	for s, commit := range commits {
		deployed(t, pgod, s, commit)
	}
	before := map[*rig.Service]string{calm: startedAt(t, calm), moved: startedAt(t, moved)}
	stay := func(what string, services ...*rig.Service) {
		t.Helper()
		for _, s := range services {
			stays(t, s, before[s], what)
		}
	}

	pgod.Stop()
	junk := filepath.Join(pgod.Dir, "services", "Junk")
	put(t, filepath.Join(junk, "file"), "", 0o600)
	moved.Set("machine", []string{"another-host"})
	pgod.Configure(calm, moved)
	pgod.Start()
	isRemoved(t, pgod, web)
	says(t, pgod.Log(), "not a service's directory: left alone: path="+junk, "configured for other machines, and no service for this one: it is left as it is, without a worker; see --machine: service="+moved.Name)
	if _, err := os.Stat(junk); err != nil {
		t.Error(err)
	}
	stay("a start", calm, moved)

	pgod.Configure(web, calm, moved)
	deployed(t, pgod, web, commits[web])
	isBack(t, pgod, web)
	stay("a reload", calm, moved)

	// A host that an entry names knows which services are for others.
	moved.Set("machine", []string{r.Prefix})
	pgod.Configure()
	deployed(t, pgod, moved, commits[moved])
	stay("an entry for this machine", calm, moved)
	moved.Set("machine", []string{"another-host"})
	pgod.Configure()
	isRemoved(t, pgod, moved)
	moved.Set("machine", []string{r.Prefix, "another-host"})
	pgod.Configure()
	deployed(t, pgod, moved, commits[moved])
	isBack(t, pgod, moved)
	calm.Set("machine", []string{r.Prefix})
	moved.Set("machine", []string{"another-host"})
	pgod.Stop()
	pgod.Configure(calm, moved)
	pgod.Start()
	lost := moved.Name + ", " + web.Name // two of three, which nobody has seen yet
	says(t, pgod.SSH(operator, "//reload", "--remove").Exits(t, 409%256).Stderr, lost+"; put", "nothing is removed", "run it once more")
	says(t, pgod.SSH(operator, "//reload", "--remove").Exits(t, 0).Stdout, "removed:   "+lost)
	isRemoved(t, pgod, moved)
	isRemoved(t, pgod, web)
	stay("being named", calm)
}

// A configuration without services, or without most of its entries, removes nothing until an
// operator confirms it, neither on a reload nor after a restart.
func TestRemovalOfMost(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, calm, operator := r.Service("web"), r.Service("calm"), r.Key("operator")
	commits := map[*rig.Service]string{web: web.Push("first", r.Idle()), calm: calm.Push("first", r.Idle())}
	pgod := r.Pgod(web, calm)
	pgod.Operators(operator)
	pgod.Start()
	for s, commit := range commits {
		deployed(t, pgod, s, commit)
	}
	look := untouched(t, pgod, web, calm)
	status := func() string { return pgod.SSH(operator, "//status").Exits(t, 0).Stdout }
	all := []string{calm.Name + ", " + web.Name + "; put their entries back", "//reload --remove"}

	put(t, pgod.ConfigFile, "services = []\n", 0o600)
	rig.Until(t, "the file to wait", func() error {
		return has(status(), append(all, "waits for an operator", "the old one stays in force", "it would remove every service of this host: ")...)
	})
	says(t, pgod.SSH(operator, "//reload").Exits(t, 409%256).Stderr, append(all, "the old one stays in force")...)
	pgod.SSH(web.Key, web.Op("ps")).Exits(t, 0)
	look("an emptied file")
	says(t, pgod.Log(), "the configuration would remove most services: the old one stays in force until an operator confirms it")

	// The next pgod knows the services by their directories only.
	before := map[*rig.Service]string{web: startedAt(t, web), calm: startedAt(t, calm)}
	empty := fmt.Sprintf("services = []\n\n[pgod]\noperator_keys = %q\n", filepath.Join(filepath.Dir(pgod.ConfigFile), "operator_keys"))
	put(t, pgod.ConfigFile, empty, 0o600)
	pgod.Restart()
	says(t, status(), append(all, "waits for an operator", "nothing is removed until then", "it has no entry for every service")...)
	says(t, pgod.SSH(operator, web.Op("ps")).Exits(t, 409%256).Stderr, web.Name+" is not configured any more, and is left as it is")
	says(t, pgod.SSH(operator, "//reload").Exits(t, 409%256).Stderr, append(all, "the configuration is in force, and nothing is removed")...)
	for s, was := range before {
		stays(t, s, was, "a start with an emptied file")
	}
	pgod.Configure(web) // one is back; the other one still waits
	onlyCalm := func() error { return has(status(), "waits for an operator", calm.Name+"; put") }
	rig.Until(t, "only one to wait", onlyCalm)
	// Before that is confirmed, the file loses the other one, too.
	put(t, pgod.ConfigFile, empty, 0o600)
	says(t, pgod.SSH(operator, "//reload", "--remove").Exits(t, 409%256).Stderr, append(all, "the old one stays in force", "run it once more")...)
	stays(t, web, before[web], "the confirmation of what was shown")
	pgod.Configure(web)
	rig.Until(t, "only one to wait again", onlyCalm)
	pgod.SSH(operator, "//reload", "--remove").Exits(t, 0)
	isRemoved(t, pgod, calm)
	showsTo(t, pgod, operator, web, "worker:    ready")
	if text := status(); strings.Contains(text, "waits for") {
		t.Errorf("nothing waits any more: %s", text)
	}

	// What was confirmed is removed by the next pgod, too.
	pgod.Configure(calm)
	rig.Until(t, "the removal of the only one to wait", func() error { return has(status(), "waits for an operator") })
	says(t, pgod.SSH(operator, "//reload", "--remove").Exits(t, 0).Stdout, "added:     "+calm.Name, "removed:   "+web.Name)
	pgod.Restart()
	isRemoved(t, pgod, web)
	deployed(t, pgod, calm, commits[calm])
	isBack(t, pgod, calm)
}

// Without its engine a service cannot be taken down. That is tried again, also by the next
// pgod, and reported to operators in the meantime; the service can also come back.
func TestRemovalWithoutEngine(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, calm, operator := r.Service("web"), r.Service("calm"), r.Key("operator")
	e := r.Engine(web.User)
	e.Busybox()
	commit := web.Set("docker_host", e.Host).Push("first", keeper(r, "hello"))
	calm.Push("first", r.Idle())
	pgod := r.Pgod(web, calm)
	pgod.Operators(operator)
	pgod.Start()
	deployed(t, pgod, web, commit)
	e.Stop()

	isStuck := func() {
		t.Helper()
		rig.Until(t, "the removal to be shown", func() error {
			return has(pgod.SSH(operator, "//status").Exits(t, 0).Stdout, web.Name+" ", " removing ", "cannot take down "+web.Name)
		})
		all := read[struct {
			Removing []struct{ Service, Since, Error string }
		}](t, pgod.SSH(operator, "//status", "--json").Exits(t, 0).Stdout).Removing
		if len(all) != 1 || all[0].Service != web.Name || all[0].Since == "" || all[0].Error == "" {
			t.Errorf("the services being removed are %+v", all)
		}
		if since := metricsOf(t, pgod.SSH(operator, "//metrics").Exits(t, 0).Stdout)["pgo_service_removing_since_timestamp_seconds "+web.Name]; since == 0 {
			t.Error("the metrics do not show it")
		}
		says(t, pgod.SSH(operator, web.Op("ps")).Exits(t, 409%256).Stderr, web.Name+" is not configured any more, and is being removed: ")
		says(t, pgod.SSH(calm.Key, web.Op("ps")).Exits(t, 401%256).Stderr, "Unauthorized")
	}
	pgod.Configure(calm)
	isStuck()
	pgod.Configure(web, calm) // it may come back before it is gone
	showsTo(t, pgod, operator, web, "worker:    ready")
	pgod.Configure(calm)
	isStuck()
	pgod.Restart()
	isStuck()
	if n := strings.Count(pgod.Log(), "cannot remove the service: it is tried again: service="+web.Name); n > 6 {
		t.Errorf("the log has the same message %d times", n)
	}
	if len(removed(t, pgod, web)) > 0 {
		t.Error("its directory was moved away while it had containers")
	}

	e.Start()
	isRemoved(t, pgod, web)
	if left := onEngine(t, e, web); len(left) > 0 {
		t.Errorf("it is removed, and has containers: %+v", left)
	}
	pgod.Configure(web, calm)
	rig.Until(t, "what was removed to run again", func() error {
		if now := onEngine(t, e, web); !now["keeper"].Running() {
			return fmt.Errorf("there is %+v", now)
		}
		return nil
	})
	isBack(t, pgod, web)
}

// A service that is removed in the middle of a deploy leaves nothing behind, and never has two
// compose processes. When it is back it deploys what it was about to.
func TestRemovalInADeploy(t *testing.T) {
	for step, files := range map[string]func(r *rig.Rig, greeting string) rig.Files{
		"build":    func(r *rig.Rig, greeting string) rig.Files { return slowBuild(r, greeting, "15") },
		"stop":     hooked,
		"stopping": stubborn,
		"up":       patient,
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			r := rig.New(t)
			web, calm := r.Service("web"), r.Service("calm")
			first := files(r, "one")
			if step == "build" {
				first = keeper(r, "one")
			}
			commit := web.Push("first", first)
			calm.Push("first", r.Idle())
			pgod := r.Start(web, calm)
			deployed(t, pgod, web, commit)
			stopPings, stopWatch := pings(t, pgod, calm), oneCompose(t, web)
			second := web.Push("second", files(r, "two"))
			deploying(t, pgod, web, step)
			pgod.Configure(calm)
			isRemoved(t, pgod, web)
			pgod.Configure(web, calm)
			deployed(t, pgod, web, second)
			// It may have been deployed before it was removed: then it is brought back.
			rig.Until(t, "the second to run", func() error {
				containers := rig.Containers(t, web.Name)
				if !slices.ContainsFunc(containers, func(c rig.Container) bool { return c.Service() == "slow" && c.Running() }) {
					return fmt.Errorf("there is %+v", containers)
				}
				return nil
			})
			converged(t, web, "two")
			isBack(t, pgod, web)
			stopPings()
			stopWatch()
		})
	}
}

// While a service is taken down it may come back, or pgod may end: it does not stay half
// removed.
func TestRemovalIsBrokenOff(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, calm := r.Service("web"), r.Service("calm")
	commit := web.Push("first", stubborn(r, "one"))
	calm.Push("first", r.Idle())
	pgod := r.Start(web, calm)
	deployed(t, pgod, web, commit)
	stop := oneCompose(t, web)
	pgod.Configure(calm)
	composing(t, web, "down")
	pgod.Configure(web, calm)
	deployed(t, pgod, web, commit)
	rig.Until(t, "it to run as before", rig.Running(web.Name, 1))
	if left := removed(t, pgod, web); len(left) > 0 {
		t.Errorf("it came back before it was gone, and left %v", left)
	}

	for _, end := range []func(){pgod.Stop, pgod.Kill} {
		pgod.Configure(calm)
		composing(t, web, "down")
		end()
		pgod.Start()
		isRemoved(t, pgod, web)
		pgod.Configure(web, calm)
		deployed(t, pgod, web, commit)
		rig.Until(t, "it to run as before", rig.Running(web.Name, 1))
		isBack(t, pgod, web)
	}
	stop()
}
