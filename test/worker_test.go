package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgo/test/rig"
)

// fakeWorker makes a shell script that runs in place of a worker, for what a real one does not
// do.
func fakeWorker(t *testing.T, r *rig.Rig, script string) string {
	t.Helper()
	file := filepath.Join(r.Dir, "fake-worker")
	put(t, file, "#!/bin/sh\n"+strings.ReplaceAll(script, "$WORKER", r.Program("pgo-worker"))+"\n", 0o755)
	return file
}

// Whatever a worker prints where its log is expected, pgod keeps running, and shows it so that
// it cannot be taken for anything else.
func TestGarbageOnStandardError(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	commit := web.Push("first", r.Idle())
	pgod := r.Pgod(web)
	pgod.Flags = []string{"--worker", fakeWorker(t, r, `{
		echo 'panic: not a log line'
		echo '{"@level": 7, "@message": ["a"], "@timestamp": {}}'
		echo '{"@message": "a log line", "@level": "no level", "@timestamp": "yesterday"}'
		printf '{"@message":\n\n\000\033[31m\377\n'
		head -c 200000 /dev/zero | tr '\0' x
		echo
	} >&2
	exec $WORKER`)}
	pgod.Start()
	first := pgod.PID()
	deployed(t, pgod, web, commit)
	pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
	if pgod.PID() != first {
		t.Error("pgod is another process")
	}
	log := pgod.Log()
	says(t, log, `text="panic: not a log line"`, "a log line: service="+web.Name, "xxxx")
	if strings.Contains(log, "\033") || strings.Contains(log, strings.Repeat("x", 100_000)) {
		t.Error("the garbage is in the log unescaped")
	}
}

// A worker of another build is refused, and so is a process that is not the one
// that was started.
func TestOtherWorkersAreRefused(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	other := filepath.Join(r.Dir, "other-worker")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-X pgo/internal/version.Version=other", "-o", other, "pgo/cmd/pgo-worker")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	rig.Run(t, build).Exits(t, 0)
	for name, c := range map[string]struct{ worker, refusal string }{
		"version":  {other, `the worker has version "other", pgod has "test": install both from one build`},
		"identity": {fakeWorker(t, r, "$WORKER"), "is at the other end instead of"},
	} {
		t.Run(name, func(t *testing.T) {
			web, operator := r.Service(name), r.Key("operator-"+name)
			web.Push("first", r.Idle())
			pgod := r.Pgod(web)
			pgod.Operators(operator)
			pgod.Flags = []string{"--worker", c.worker}
			pgod.Start()
			showsTo(t, pgod, operator, web, "worker:    backoff", c.refusal)
			if found := rig.Containers(t, web.Name); len(found) > 0 {
				t.Errorf("it was given work all the same: %+v", found)
			}
			pgod.Stop()
			if err := web.User.Idle(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A worker talks to nobody but pgod: not to root, and not to a process of its own user.
func TestWorkerTalksToPgodAlone(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	commit := web.Push("first", r.Idle())
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	all, err := filepath.Glob("/run/pgo/*/*/*")
	if err != nil {
		t.Fatal(err)
	}
	sockets := slices.DeleteFunc(all, func(file string) bool {
		var is syscall.Stat_t
		return syscall.Lstat(file, &is) != nil || int(is.Uid) != web.User.UID
	})
	if len(sockets) != 1 {
		t.Fatalf("the worker's sockets are %v", sockets)
	}
	// It sends what an HTTP/2 client begins with, which a server answers, or reads the end.
	const client = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(30)
s.connect(sys.argv[1])
try:
    s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    print("answered", s.recv(100))
except (BrokenPipeError, ConnectionResetError):
    print("answered b''")
`
	for _, who := range []*rig.User{{Name: "root"}, web.User} {
		cmd := who.Command("/usr/bin/python3", "-c", client, sockets[0])
		cmd.Dir = "/"
		if said := rig.Run(t, cmd); said.Stdout != "answered b''\n" {
			t.Errorf("%s is told %+v", who.Name, said)
		}
	}
	// Nor can it take the worker's descriptors: the kernel lets a process trace others of its
	// user, and so copy their descriptors, unless they opt out.
	const thief = `
import ctypes, os, sys
process = os.pidfd_open(int(sys.argv[1]))
pidfd_getfd = 438
taken = [fd for fd in range(32) if ctypes.CDLL(None).syscall(pidfd_getfd, process, fd, 0) >= 0]
print("taken", taken)
`
	cmd := web.User.Command("/usr/bin/python3", "-c", thief, fmt.Sprint(pgod.WorkerPID(web)))
	cmd.Dir = "/"
	if said := rig.Run(t, cmd); said.Stdout != "taken []\n" {
		t.Errorf("the worker's files: %+v", said)
	}
	pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
}

// Without the worker's program every service says so, and starts once it is
// there.
func TestWorkerIsMissing(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, operator := r.Service("web"), r.Key("operator")
	commit := web.Push("first", r.Idle())
	worker := filepath.Join(r.Dir, "pgo-worker")
	pgod := r.Pgod(web)
	pgod.Operators(operator)
	pgod.Flags = []string{"--worker", worker}
	pgod.Start()
	showsTo(t, pgod, operator, web, "worker:    backoff", "cannot start the worker", worker, "no such file", "started again in")
	showsTo(t, pgod, operator, web, "crashloop")
	told := pgod.SSH(operator, web.Op("ps")).Exits(t, 503%256)
	says(t, told.Stderr, "the worker of "+web.Name+" is down", "it is started again in")
	pgod.Pgoctl(operator, web.Op("ps")).Exits(t, 69)

	if err := os.Symlink(r.Program("pgo-worker"), worker); err != nil {
		t.Fatal(err)
	}
	startNow(t, pgod, operator, web)
	deployed(t, pgod, web, commit)
}

// startNow makes pgod start a worker at once that waits for its next try.
func startNow(t *testing.T, pgod *rig.Pgod, operator *rig.Key, s *rig.Service) {
	t.Helper()
	rig.Until(t, "the worker of "+s.Name+" to be started", func() error {
		// While it is just being tried, there is nothing to restart.
		if restart := pgod.SSH(operator, s.Op("worker restart")); restart.Code != 0 {
			return errors.New(restart.Stderr)
		}
		return nil
	})
}

// A service whose user does not exist says so and is tried again; the others
// run.
func TestUserIsMissing(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, other, operator := r.Service("web"), r.Service("other"), r.Key("operator")
	commit := web.Push("first", r.Idle())
	runs := other.Push("first", r.Idle())
	web.Set("user", r.Prefix+"-late")
	pgod := r.Pgod(web, other)
	pgod.Operators(operator)
	pgod.Start()
	deployed(t, pgod, other, runs)
	showsTo(t, pgod, operator, web, "worker:    backoff", fmt.Sprintf("user %q: does not exist on this host", r.Prefix+"-late"))
	pgod.SSH(other.Key, other.Op("ping")).Exits(t, 0)

	r.User("late")
	startNow(t, pgod, operator, web)
	deployed(t, pgod, web, commit)
	pgod.Stop() // before the user goes
}

// Without the group docker no worker starts, and each says why. pgod sees an
// /etc of its own here; a mount on /etc/group alone would be gone as soon as
// another test adds a user.
func TestDockerGroupIsMissing(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, operator := r.Service("web"), r.Key("operator")
	commit := web.Push("first", r.Idle())
	etc := filepath.Join(r.Dir, "etc")
	for _, name := range []string{"passwd", "group", "nsswitch.conf"} {
		text, err := os.ReadFile(filepath.Join("/etc", name))
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(etc, name), strings.ReplaceAll(string(text), "\ndocker:", "\nrekcod:"), 0o644)
	}
	pgod := r.Pgod(web)
	pgod.Operators(operator)
	pgod.Wrapper = []string{"unshare", "--mount", "sh", "-c", `mount --bind "$1" /etc && shift && exec "$@"`, "sh", etc}
	pgod.Start()
	showsTo(t, pgod, operator, web, "worker:    backoff", `group "docker": does not exist on this host`)

	groups, err := os.ReadFile(filepath.Join(etc, "group"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(etc, "group"), strings.ReplaceAll(string(groups), "\nrekcod:", "\ndocker:"), 0o644)
	startNow(t, pgod, operator, web)
	deployed(t, pgod, web, commit)
}

// A worker that does not answer is killed and replaced. Until then only what was asked of it
// waits.
func TestSilentWorkerIsReplaced(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, other := r.Service("web"), r.Service("other")
	commit := web.Push("first", r.Idle())
	other.Push("first", r.Idle())
	pgod := r.Start(web, other)
	deployed(t, pgod, web, commit)
	stopPings := pings(t, pgod, other)

	worker := pgod.WorkerPID(web)
	if err := syscall.Kill(worker, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	says(t, pgod.SSH(web.Key, web.Op("ping")).Exits(t, 503%256).Stderr, "the worker of "+web.Name+" ended before the command did")
	replaced(t, pgod, web, worker)
	shows(t, pgod, web, "worker:    ready", "restarts: 1")
	says(t, pgod.Log(), "the worker does not answer: killing it")
	stopPings()
}
