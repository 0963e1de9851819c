package test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgo/test/rig"
)

// ends runs a pgod that is expected to end by itself, with an error.
func ends(t *testing.T, pgod *rig.Pgod, words ...string) {
	t.Helper()
	result := rig.Run(t, pgod.Command())
	if result.Code != 1 {
		t.Errorf("pgod ended with %d: %s", result.Code, result.Stderr)
	}
	says(t, result.Stderr, words...)
}

// A second pgod on the same directory would run everything twice.
func TestSecondPgodIsRefused(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	commit := web.Push("first", r.Idle())
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	worker := pgod.WorkerPID(web)

	second := r.Pgod(web)
	second.Dir = pgod.Dir
	ends(t, second, "another pgod uses "+pgod.Dir, "-d")
	if pgod.WorkerPID(web) != worker {
		t.Error("the second pgod took the first one's worker away")
	}
	pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
}

// pgod reports what keeps it from starting, and has begun nothing.
func TestPgodCannotStart(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for flags, words := range map[string][]string{
		"--ssh " + taken.Addr().String(): {"cannot listen", taken.Addr().String(), "address already in use"},
		"--ssh nowhere":                  {"--ssh", "write [host]:port"},
		"--config /nonexistent/pgo.toml": {"/nonexistent/pgo.toml", "no such file"},
		"--log-format xml":               {`"xml" is neither text nor json`},
		"--frobnicate":                   {"unknown flag: --frobnicate"},
		"serve":                          {"serve"},
	} {
		pgod := r.Pgod(web)
		pgod.Flags = strings.Fields(flags)
		ends(t, pgod, words...)
	}
	damaged := r.Pgod(web)
	put(t, filepath.Join(damaged.Dir, "host_key"), "no key", 0o600)
	ends(t, damaged, filepath.Join(damaged.Dir, "host_key"))
	if text, err := os.ReadFile(filepath.Join(damaged.Dir, "host_key")); err != nil || string(text) != "no key" {
		t.Errorf("the damaged host key was replaced: %q, %v", text, err)
	}
}

const badConfig = `[pgod]
operator_key = "/etc/keys"

[[services]]
name = "web_1"
user = "nobody"
repository = "https://git.example.org/web"
ignore = "yes"
notify = ["https://hooks.example.org/x"]

[[services]]
name = "api"
repository = "gopher://git.example.org/api"
`

// All mistakes in a configuration are reported at once, each with its line, also by --check,
// and a running pgod ignores a bad one.
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	commit := web.Push("first", r.Idle())
	mistakes := func(file string) []string {
		return []string{
			file + `:2: pgod.operator_key: unknown key; did you mean "operator_keys"?`,
			file + ":5: ", `"web_1"`,
			file + ":8: ", "expected a boolean, found a string; leave out the quotes",
			file + ":9: ", "not supported yet",
			file + ":11: ", "user is missing",
			file + ":13: ", "repository",
		}
	}
	for _, flags := range [][]string{nil, {"--check"}} {
		pgod := r.Pgod(web)
		pgod.Flags = flags
		put(t, pgod.ConfigFile, badConfig, 0o600)
		ends(t, pgod, mistakes(pgod.ConfigFile)...)
	}

	pgod := r.Start(web)
	check := pgod.Command()
	check.Args = append(check.Args, "--check")
	says(t, rig.Run(t, check).Exits(t, 0).Stdout, pgod.ConfigFile+" is fine; services on this host: 1")
	deployed(t, pgod, web, commit)
	worker := pgod.WorkerPID(web)
	put(t, pgod.ConfigFile, badConfig, 0o600)
	pgod.Reload()
	rig.Until(t, "the mistakes to be logged", func() error {
		return has(pgod.Log(), "cannot reload the configuration: the old one stays in force", "pgo.toml:2: ", "pgo.toml:13: ")
	})
	if pgod.WorkerPID(web) != worker {
		t.Error("a bad configuration took the worker away")
	}
	pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
}

// A reload, by signal or because the file changed, touches only what is
// different.
func TestReload(t *testing.T) {
	for name, flags := range map[string][]string{"signal": {"--restart=false"}, "file": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rig.New(t)
			calm, changed, added := r.Service("calm"), r.Service("changed"), r.Service("added")
			commits := map[*rig.Service]string{}
			for _, s := range []*rig.Service{calm, changed, added} {
				commits[s] = s.Push("first", rig.Files{"compose.yaml": greeter(r, "web", "${WHO:-nobody}")})
			}
			pgod := r.Pgod(calm, changed)
			pgod.Flags = flags
			pgod.Start()
			deployed(t, pgod, calm, commits[calm])
			deployed(t, pgod, changed, commits[changed])
			workers := map[*rig.Service]int{calm: pgod.WorkerPID(calm), changed: pgod.WorkerPID(changed)}
			before := startedAt(t, calm)

			changed.Set("env", []string{"WHO=somebody"})
			pgod.Configure(calm, changed, added)
			if flags != nil {
				pgod.Reload()
			}
			deployed(t, pgod, added, commits[added])
			runs(t, changed, "somebody", "web")
			if pgod.WorkerPID(changed) == workers[changed] {
				t.Error("the changed service has its old worker")
			}
			if pgod.WorkerPID(calm) != workers[calm] {
				t.Error("the unchanged service has another worker")
			}
			stays(t, calm, before, "a reload")

			// A service that is gone from the configuration has no worker any more, and its
			// keys do not count.
			pgod.Configure(calm, changed)
			if flags != nil {
				pgod.Reload()
			}
			rig.Until(t, "the removed service's worker to be gone", added.User.Idle)
			rig.Until(t, "its key to be refused", func() error {
				if ping(pgod, added, added.Key) == nil {
					return fmt.Errorf("it is still let in")
				}
				return nil
			})
			pgod.SSH(calm.Key, calm.Op("ping")).Exits(t, 0)
		})
	}
}
