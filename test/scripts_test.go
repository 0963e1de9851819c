package test

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh/knownhosts"

	"pgo/internal/target"
	"pgo/test/rig"
)

// The scripts in testdata read like what somebody types at a terminal, for each operation
// and each refusal.
//
// The host is web1, on which a pgod runs. pgoctl knows it as web2, too, and knows away, where
// none runs. A directory with a compose file in it is a service's repository, which is
// deployed as the script begins; its branch is not polled again. Compose files find the image
// $BUSYBOX and the free port $PORT in their environment. Scripts without such a directory
// share a pgod with the services web and other, and leave alone what the others look at.
//
// $web is the full name of the service web, and $head the first digits of its commit. The
// user is ann, who has the key of web. There are other.key and operator.key as well, which a
// stock client uses for the login names other and operator: ssh operator@web1.
//
// In addition to testscript's own, the commands are
//
//	push SERVICE MESSAGE     commit SERVICE's directory; $head is the commit
//	until TEXT PROGRAM…      run it repeatedly until its output matches the regular expression
//	exits CODE PROGRAM…      run it, and expect this exit code
func TestScripts(t *testing.T) {
	t.Parallel()
	shared := sharedStage(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			t := e.T().(testing.TB)
			s, err := ownStage(t, e.WorkDir)
			if err != nil {
				return err
			}
			if s == nil {
				s = shared
			}
			e.Values[sceneKey{}] = &scene{s, t}
			return s.furnish(e)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"push":  cmdPush,
			"until": cmdUntil,
			"exits": cmdExits,
		},
	})
}

// Each operation is in a script, with pgoctl and with a stock client.
func TestScriptsHaveAllOperations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var scripts strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts.Write(text)
	}
	for _, o := range target.Operations() {
		of := `\$web//` + o.Name
		if o.Scope == target.Host {
			of = "//" + o.Name
		}
		for _, line := range []string{`(?m)pgoctl .*web1:` + of + `( |$)`, `(?m)ssh .*web1 -- ` + of + `( |$)`} {
			if !regexp.MustCompile(line).MatchString(scripts.String()) {
				t.Errorf("no script has a line with %s", line)
			}
		}
	}
}

// stage is what a script runs on.
type stage struct {
	rig      *rig.Rig
	pgod     *rig.Pgod
	services map[string]*rig.Service // by the names that scripts use
	operator *rig.Key
	port     int    // free for a service to publish
	head     string // of the first service
}

// sharedFiles are the repository of the service web that scripts share.
const sharedFiles = `services:
  talker:
    image: ${BUSYBOX}
    init: true
    command: [sh, -c, "for n in 1 2 3 4 5 6 7 8 9; do echo line $$n; done; exec sleep 86400"]
  site:
    image: ${BUSYBOX}
    init: true
    command: [httpd, -f, -p, "8080", -h, /]
    ports: ["127.0.0.1:${PORT}:8080"]
`

// sharedStage is for scripts that have no service of their own.
func sharedStage(t testing.TB) *stage {
	s := newStage(t)
	s.service("other").Push("The first commit", s.rig.Idle())
	web := s.service("web")
	s.head = web.Push("The first commit", rig.Files{"compose.yaml": sharedFiles})[:7]
	s.start(t)
	rig.Until(t, "the talker to have spoken", func() error {
		return has(s.pgod.SSH(web.Key, web.Op("logs")).Stdout, "line 9")
	})
	return s
}

// ownStage returns a stage with the services whose directories are in dir; without any, nil.
func ownStage(t testing.TB, dir string) (*stage, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, err
	}
	s := newStage(t)
	for _, file := range files {
		repository := filepath.Dir(file)
		name := filepath.Base(repository)
		s.service(name)
		if err := s.push(name, repository, "The first commit"); err != nil {
			return nil, err
		}
	}
	s.start(t)
	return s, nil
}

func newStage(t testing.TB) *stage {
	r := rig.New(t)
	return &stage{rig: r, services: map[string]*rig.Service{}, operator: r.Key("operator"), port: r.Port()}
}

func (s *stage) service(name string) *rig.Service {
	service := s.rig.Service(name)
	service.Set("env", []string{"BUSYBOX=" + s.rig.Busybox(), fmt.Sprint("PORT=", s.port)}).Set("interval", "1h")
	s.services[name] = service
	return service
}

// push commits what is in the directory as the service's whole repository, except for its keys.
func (s *stage) push(name, dir, message string) error {
	service := s.services[name]
	if service == nil {
		return fmt.Errorf("there is no service %s", name)
	}
	repo := service.Repo.Dir
	kept := filepath.Join(repo, "ssh", name+".pub")
	key, err := os.ReadFile(kept)
	if err != nil {
		return err
	}
	service.Repo.Git("rm", "--quiet", "-r", "--ignore-unmatch", ".")
	if err := os.CopyFS(repo, os.DirFS(dir)); err != nil {
		return err
	}
	service.Repo.Write("ssh/"+name+".pub", string(key))
	s.head = service.Repo.Commit(message)[:7]
	return nil
}

// outcome matches a status that has an outcome.
var outcome = regexp.MustCompile(`(?m)^last: +[a-z]`)

// start starts pgod, and returns when the first commits have an outcome.
func (s *stage) start(t testing.TB) {
	t.Helper()
	s.pgod = s.rig.Pgod(slices.Collect(maps.Values(s.services))...)
	s.pgod.Operators(s.operator)
	s.pgod.Start()
	for name, service := range s.services {
		rig.Until(t, name+" to have a first deploy behind it", func() error {
			status := s.pgod.SSH(service.Key, service.Op("status"))
			if !outcome.MatchString(status.Stdout) {
				return errors.New(status.Stdout)
			}
			return nil
		})
	}
}

// furnish gives a script its home, its keys and its variables.
func (s *stage) furnish(e *testscript.Env) error {
	keys := map[string]*rig.Key{"ann": s.services["web"].Key, "operator": s.operator}
	for name, service := range s.services {
		keys[name] = service.Key
		e.Setenv(name, service.Name)
	}
	_, port, err := net.SplitHostPort(s.pgod.Address)
	if err != nil {
		return err
	}
	programs, home := filepath.Join(e.WorkDir, ".bin"), filepath.Join(e.WorkDir, ".home")
	files := map[string]string{
		filepath.Join(home, ".ssh", "id_ed25519"):           keys["ann"].PEM,
		filepath.Join(home, ".ssh", "known_hosts"):          knownhosts.Line([]string{s.pgod.Address}, s.pgod.HostKey()) + "\n",
		filepath.Join(home, ".ssh", "config"):               fmt.Sprintf(sshConfig, port, home, e.WorkDir),
		filepath.Join(home, ".config", "pgo", "hosts.toml"): fmt.Sprintf(hostsToml, port),
	}
	for name, key := range keys {
		files[filepath.Join(e.WorkDir, name+".key")] = key.PEM
		files[filepath.Join(e.WorkDir, name+".key.pub")] = key.Public
	}
	for _, name := range []string{"ssh", "scp", "sftp"} {
		path, err := exec.LookPath(name)
		if err != nil {
			return err
		}
		// They look for the home of the user that runs the tests, and not at $HOME.
		files[filepath.Join(programs, name)] = "#!/bin/sh\nexec " + path + ` -F $HOME/.ssh/config "$@"` + "\n"
	}
	for file, content := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(content), 0o700)); err != nil {
			return err
		}
	}
	e.Setenv("PATH", strings.Join([]string{programs, filepath.Dir(s.rig.Program("pgoctl")), os.Getenv("PATH")}, ":"))
	e.Setenv("HOME", home)
	e.Setenv("USER", "ann")
	e.Setenv("PORT", strconv.Itoa(s.port))
	e.Setenv("EXPORTER", strconv.Itoa(s.rig.Port()))
	e.Setenv("head", s.head)
	return nil
}

const hostsToml = `[hosts]
web1 = {host = "127.0.0.1", port = %[1]s}
web2 = {host = "127.0.0.1", port = %[1]s}
away = {host = "127.0.0.1", port = 1}

[groups]
both = ["web1", "web2"]
`

const sshConfig = `Host web1
	HostName 127.0.0.1
	Port %[1]s
	User ann
	IdentityFile %[3]s/%%r.key
	IdentitiesOnly yes
	BatchMode yes
	UserKnownHostsFile %[2]s/.ssh/known_hosts
	GlobalKnownHostsFile none
	StrictHostKeyChecking yes
`

// scene is a script on its stage.
type scene struct {
	*stage
	t testing.TB // of the script
}

type sceneKey struct{}

func sceneOf(ts *testscript.TestScript) *scene { return ts.Value(sceneKey{}).(*scene) }

// onScript is the test of a script, which fails with the script's line.
type onScript struct {
	testing.TB
	ts *testscript.TestScript
}

func (o onScript) Fatalf(format string, args ...any) { o.ts.Fatalf(format, args...) }

// cmdPush commits a directory as the whole repository of its service.
func cmdPush(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: push service message")
	}
	s := sceneOf(ts)
	ts.Check(s.push(args[0], ts.MkAbs(args[0]), args[1]))
	ts.Setenv("head", s.head)
}

// cmdUntil runs a program until its output, both streams of it, matches a regular expression.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until text program [args...]")
	}
	text, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	rig.Until(onScript{sceneOf(ts).t, ts}, fmt.Sprintf("%q", args[0]), func() error {
		_ = ts.Exec(args[1], args[2:]...) // its status does not matter
		if out := ts.ReadFile("stdout") + ts.ReadFile("stderr"); !text.MatchString(out) {
			return fmt.Errorf("%q says %q", args[1:], out)
		}
		return nil
	})
}

// cmdExits runs a program and expects this exit code of it.
func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := new(exec.ExitError)
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("the exit code is %d, not %d", got, want)
	}
}
