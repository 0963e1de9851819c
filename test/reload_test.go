package test

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgo/internal/dropin"
	"pgo/test/rig"
)

// How a changed configuration comes into force, and what that touches.

// untouched records the workers and containers of services, and returns a function that reports
// each that was replaced since.
func untouched(t *testing.T, pgod *rig.Pgod, services ...*rig.Service) (look func(after string)) {
	t.Helper()
	state := func(s *rig.Service) string {
		text := fmt.Sprint("worker ", pgod.WorkerPID(s))
		for _, c := range rig.Containers(t, s.Name) {
			text += fmt.Sprint(", ", c.ID[:12], " started ", c.State.StartedAt)
		}
		return text
	}
	before := map[*rig.Service]string{}
	for _, s := range services {
		before[s] = state(s)
	}
	return func(after string) {
		t.Helper()
		for s, was := range before {
			if is := state(s); is != was {
				t.Errorf("after %s %s has %s, not %s", after, s.Name, is, was)
			}
		}
	}
}

// relink makes a symlink lead elsewhere, in one step.
func relink(t *testing.T, link, target string) {
	t.Helper()
	if err := os.Symlink(target, link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
}

// However the configuration is changed, it comes into force, and what it leaves unchanged is
// not touched.
func TestReloadHowever(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	calm, flip, operator := r.Service("calm"), r.Service("flip"), r.Key("operator")
	calmCommit, flipCommit := calm.Push("first", r.Idle()), flip.Push("first", rig.Files{"compose.yaml": greeter(r, "web", "${WHO:-nobody}")})
	pgod := r.Pgod(calm, flip)
	pgod.Operators(operator)
	// /etc/pgo/pgo.toml → ../now/pgo.toml, now → a directory as Kubernetes mounts it,
	// where pgo.toml → ..data/pgo.toml and ..data → ..1.
	dir := filepath.Join(r.Dir, "conf")
	n := 1
	mount := func(text []byte) {
		put(t, fmt.Sprintf("%s/mount/..%d/pgo.toml", dir, n), string(text), 0o600)
	}
	mount(pgod.ConfigText())
	link(t, dir+"/mount", "..data", "..1")
	link(t, dir+"/mount", "pgo.toml", "..data/pgo.toml")
	link(t, dir, "now", "mount")
	if err := os.Mkdir(dir+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, dir+"/etc", "pgo.toml", "../now/pgo.toml")
	pgod.ConfigFile = dir + "/etc/pgo.toml"
	pgod.Start()
	deployed(t, pgod, calm, calmCommit)
	deployed(t, pgod, flip, flipCommit)
	stop, calmly := pings(t, pgod, calm), untouched(t, pgod, calm)

	changes := func(how string, do func(text []byte)) {
		t.Helper()
		n++
		who := fmt.Sprint("number", n)
		flip.Set("env", []string{"WHO=" + who})
		do(pgod.ConfigText())
		runs(t, flip, who, "web")
		calmly(how)
	}
	write := func(path string) func([]byte) {
		return func(text []byte) {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	changes("a write through all symlinks", write(pgod.ConfigFile))
	changes("a new ..data", func(text []byte) {
		mount(text)
		relink(t, dir+"/mount/..data", fmt.Sprintf("..%d", n))
	})
	changes("a write into the new ..data", write(dir+"/mount/..data/pgo.toml"))
	changes("a rename over the symlink", func(text []byte) {
		write(pgod.ConfigFile + ".new")(text)
		if err := os.Rename(pgod.ConfigFile+".new", pgod.ConfigFile); err != nil {
			t.Fatal(err)
		}
	})
	changes("a symlink in its place", func(text []byte) {
		put(t, dir+"/other/pgo.toml", string(text), 0o600)
		relink(t, pgod.ConfigFile, "../other/pgo.toml")
	})
	changes("a file in the directory next to it", func(text []byte) {
		main, entries, _ := bytes.Cut(text, []byte("[[services]]"))
		put(t, dropin.Dir(pgod.ConfigFile)+"/more.toml", "[[services]]"+string(entries), 0o600)
		// The two files are not changed in one step, so the configuration in between is bad.
		write(dir + "/other/pgo.toml")(main)
	})
	says(t, pgod.SSH(operator, "//status").Exits(t, 0).Stdout, calm.Name, flip.Name)
	stop()
}

// A bad file changes nothing, and is shown until it is fixed; also when it is not the
// configuration itself, but a file that it refers to.
func TestBadFilesChangeNothing(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, late, operator, second := r.Service("web"), r.Service("late"), r.Key("operator"), r.Key("second")
	commit := web.Push("first", r.Idle())
	late.Push("first", r.Idle())
	pgod := r.Pgod(web)
	pgod.Operators(operator)
	pgod.Start()
	deployed(t, pgod, web, commit)
	calmly := untouched(t, pgod, web)

	isBad := func(words ...string) {
		t.Helper()
		rig.Until(t, "the mistake to be shown", func() error {
			return has(pgod.SSH(operator, "//status").Exits(t, 0).Stdout, append(words, "The newest configuration is bad")...)
		})
		calmly(words[0])
	}
	isMended := func() {
		t.Helper()
		rig.Until(t, "the mistake to be shown no longer", func() error {
			if text := pgod.SSH(operator, "//status").Exits(t, 0).Stdout; strings.Contains(text, "is bad") {
				return fmt.Errorf("it says %s", text)
			}
			return nil
		})
		calmly("fixing it")
	}
	good := pgod.ConfigText()
	bad := strings.Replace(string(pgod.ConfigText(web, late)), "repository", "repo", 1)
	put(t, pgod.ConfigFile, bad, 0o600)
	isBad("repo: unknown key")
	put(t, pgod.ConfigFile, string(good), 0o600)
	isMended()
	if err := os.Rename(pgod.ConfigFile, pgod.ConfigFile+".away"); err != nil {
		t.Fatal(err)
	}
	isBad("no such file")
	if err := os.Rename(pgod.ConfigFile+".away", pgod.ConfigFile); err != nil {
		t.Fatal(err)
	}
	isMended()

	keys := filepath.Join(filepath.Dir(pgod.ConfigFile), "operator_keys")
	pgod.Configure()
	isMended()
	put(t, keys, operator.Public+"no key at all\n", 0o600)
	isBad(keys)
	put(t, keys, operator.Public+second.Public, 0o600)
	isMended()
	rig.Until(t, "the second operator to be known", func() error { return ping(pgod, web, second) })
}

// While services are added, changed and removed, no operation on another service fails.
func TestReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	one, two, changed, comes := r.Service("one"), r.Service("two"), r.Service("changed"), r.Service("comes")
	commits := map[*rig.Service]string{}
	for _, s := range []*rig.Service{one, two, comes} {
		commits[s] = s.Push("first", r.Idle())
	}
	commits[changed] = changed.Push("first", rig.Files{"compose.yaml": greeter(r, "web", "${WHO:-nobody}")})
	pgod := r.Start(one, two, changed)
	for _, s := range []*rig.Service{one, two, changed} {
		deployed(t, pgod, s, commits[s])
	}
	calmly := untouched(t, pgod, one, two)
	var stops []func()
	for _, s := range []*rig.Service{one, two} {
		inTurn := [][]string{{"ps"}, {"exec", "-T", "idle", "true"}, {"up"}}
		stops = append(stops, pings(t, pgod, s), background(t, "operations of "+s.Name, func() error {
			words := inTurn[0]
			inTurn = append(inTurn[1:], words)
			out, err := pgod.SSHCommand(s.Key, append([]string{s.Op(words[0])}, words[1:]...)...).CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%s: %w: %s", words[0], err, out)
			}
			return err
		}))
	}
	for n := range 2 {
		who := fmt.Sprint("number", n)
		changed.Set("env", []string{"WHO=" + who})
		pgod.Configure(one, comes, changed, two)
		deployed(t, pgod, comes, commits[comes])
		runs(t, changed, who, "web")
		pgod.Configure(two, changed, one)
		isRemoved(t, pgod, comes)
		calmly("adding, changing and removing")
	}
	for _, stop := range stops {
		stop()
	}
	calmly("all of it")
}

// A hundred reloads, each of which replaces a worker, leave nothing behind.
func TestReloadsLeakNothing(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	calm, flip, operator := r.Service("calm"), r.Service("flip"), r.Key("operator")
	commits := []string{calm.Push("first", r.Idle()), flip.Push("first", r.Idle())}
	flip.Set("env", []string{"N=0"})
	pgod := r.Pgod(calm, flip)
	pgod.Operators(operator)
	pgod.Start()
	deployed(t, pgod, calm, commits[0])
	deployed(t, pgod, flip, commits[1])
	calmly := untouched(t, pgod, calm)
	client := dial(t, pgod, operator)
	ask := func(command string) string {
		session, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		out, err := session.CombinedOutput(command)
		if err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		return string(out)
	}
	good, err := os.ReadFile(pgod.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	reloads := 0
	reload := func() { // by this operation, or by the watcher before it
		t.Helper()
		reloads++
		text := strings.Replace(string(good), `"N=0"`, fmt.Sprintf(`"N=%d"`, reloads), 1)
		put(t, pgod.ConfigFile+".new", text, 0o600)
		if err := os.Rename(pgod.ConfigFile+".new", pgod.ConfigFile); err != nil {
			t.Fatal(err)
		}
		says(t, ask("//reload"), "removed:   -", calm.Name)
	}
	held := func() map[string]int {
		family, err := rig.Family(pgod.PID())
		if err != nil {
			t.Fatal(err)
		}
		sum := fnv.New32a()
		_, _ = sum.Write([]byte(pgod.Dir))
		sockets, err := os.ReadDir(fmt.Sprintf("/run/pgo/%x", sum.Sum32()))
		if err != nil {
			t.Fatal(err)
		}
		values := metricsOf(t, ask("//metrics"))
		return map[string]int{
			"goroutines": int(values["go_goroutines"]), "files": len(descriptors(t, pgod.PID())), "watches": watches(t, pgod.PID()),
			"processes": len(family), "directories of sockets": len(sockets), "threads": int(values["go_threads"]),
		}
	}
	for range 5 {
		reload()
	}
	flipped := func() {
		rig.Until(t, "flip's last worker to be ready", func() error {
			if words := line(t, ask("//status"), flip.Name); words[1] != "running" || words[6] != "ready" {
				return fmt.Errorf("its line is %q", words)
			}
			return nil
		})
	}
	flipped()
	before := held()
	for range 100 {
		reload()
	}
	flipped()
	rig.Until(t, "no more resources to be held than before", func() error {
		for what, now := range held() {
			// The runtime keeps threads, and makes some under load.
			if slack := map[string]int{"threads": 8}[what]; now > before[what]+slack {
				return fmt.Errorf("%d %s, and %d before", now, what, before[what])
			}
		}
		return nil
	})
	calmly("a hundred reloads")
}

// descriptors returns what the process has open.
func descriptors(t *testing.T, pid int) []string {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("cannot see the descriptors of %d: %v", pid, err)
	}
	return files
}

// watches returns how many watches for files the process has.
func watches(t *testing.T, pid int) int {
	t.Helper()
	infos, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	n := 0
	for _, info := range infos {
		text, _ := os.ReadFile(info) // it may be closed by now
		n += strings.Count(string(text), "inotify wd:")
	}
	return n
}
