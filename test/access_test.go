package test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgo/test/rig"
)

// unauthorized is the seed's message, which tells a stranger nothing.
func unauthorized(user, service string) string {
	return fmt.Sprintf("Unauthorized: Key for user %q does not match any for name %s\n", user, service)
}

// An unauthorized key gets the same answer whether or not the service exists.
func TestStrangers(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	one, two := r.Service("one"), r.Service("two")
	commits := []string{one.Push("first", r.Idle()), two.Push("first", r.Idle())}
	pgod := r.Start(one, two)
	deployed(t, pgod, one, commits[0])
	deployed(t, pgod, two, commits[1])
	stranger := r.Key("stranger")

	for _, name := range []string{one.Name, "no-such-service"} {
		for _, operation := range []string{"ping", "ps", "down", "worker kill", "status"} {
			told := pgod.SSH(two.Key, name+"//"+operation).Exits(t, 401%256)
			if told.Stderr != unauthorized("anyone", name) || told.Stdout != "" {
				t.Errorf("ssh, another's key, %s: %+v", operation, told)
			}
			ctl := pgod.Pgoctl(two.Key, name+"//"+operation).Exits(t, 77)
			lines := strings.SplitAfter(ctl.Stderr, "\n")
			if lines[0] != unauthorized("tester", name) || !strings.HasSuffix(lines[1], "[ERROR] Process exited with status 401\n") || ctl.Stdout != "" {
				t.Errorf("pgoctl, another's key, %s: %+v", operation, ctl)
			}
		}
		// An unknown key does not get past authentication.
		told := pgod.SSH(stranger, name+"//ping").Exits(t, 255)
		if told.Stderr != "anyone@127.0.0.1: Permission denied (publickey).\r\n" || told.Stdout != "" {
			t.Errorf("ssh, a stranger's key: %+v", told)
		}
		ctl := pgod.Pgoctl(stranger, name+"//ping").Exits(t, 77)
		says(t, ctl.Stderr, unauthorized("tester", name), "[ERROR] Process exited with status 401\n")
	}
	says(t, pgod.SSH(one.Key, "//ping").Exits(t, 401%256).Stderr, "is not an operator's")
	if told := pgod.Pgoctl(two.Key, "//services").Exits(t, 0); told.Stdout != two.Name+"\n" {
		t.Errorf("//services says %q", told.Stdout)
	}
	pgod.SSH(stranger, "//services").Exits(t, 255)
	says(t, pgod.Log(), "refused login", stranger.Fingerprint, "unauthorized command", two.Key.Fingerprint)
	if err := rig.Running(one.Name, 1)(); err != nil {
		t.Error(err)
	}
}

// Keys come and go with the commits of the branch.
func TestKeysFollowTheBranch(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	ada, bob := r.Key("ada"), r.Key("bob")
	pgod := r.Pgod(web)
	pgod.Operators(r.Key("operator"))
	web.Push("first", r.Idle())
	pgod.Start()
	pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
	pgod.SSH(ada, web.Op("ping")).Exits(t, 255)

	both := "# the team\n\n" + ada.Public + bob.Public
	web.Push("the team", rig.Files{"ssh/team.pub": both})
	rig.Until(t, "ada to be let in", func() error { return ping(pgod, web, ada) })
	pgod.SSH(bob, web.Op("ping")).Exits(t, 0)

	// Whoever may log in may ask for the services of the key.
	for key, names := range map[*rig.Key]string{bob: web.Name + "\n", web.Key: web.Name + "\n"} {
		if told := pgod.SSH(key, "//services").Exits(t, 0); told.Stdout != names {
			t.Errorf("//services says %q", told.Stdout)
		}
	}

	// A key that is in the checkout but in no commit does not count. The first deploy has made
	// the directory by then.
	rig.Until(t, "containers to follow", rig.Running(web.Name, 1))
	mallory := r.Key("mallory")
	put(t, checkout(pgod, web, "ssh/mallory.pub"), mallory.Public, 0o644)

	// Bob follows the logs when his key is removed, and Ada's line gets a restriction that pgo
	// cannot enforce.
	follow := start(t, pgod.SSHCommand(bob, web.Op("logs"), "-f"))
	following := composing(t, web, "logs")
	web.Push("bob leaves", rig.Files{"ssh/team.pub": `from="10.0.0.1" ` + ada.Public})
	rig.Until(t, "bob to be shut out", func() error {
		if ping(pgod, web, bob) == nil {
			return errors.New("bob is still let in")
		}
		return nil
	})
	pgod.SSH(ada, web.Op("ping")).Exits(t, 255)
	pgod.SSH(mallory, web.Op("ping")).Exits(t, 255)
	says(t, pgod.Log(), "ignored a key", "options before a key are not supported")
	shows(t, pgod, web, "warning:   ignored a key: ", "options before a key are not supported")
	rig.Until(t, "bob's open session to end", gone(following))
	follow.ends(t, 401%256)
	says(t, follow.stderr.String(), unauthorized("anyone", web.Name))
	pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
}

// Operators may do everything on every service, and have operations of their
// own.
func TestOperators(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, operator := r.Service("web"), r.Key("operator")
	commit := web.Push("first", r.Idle())
	pgod := r.Pgod(web)
	pgod.Operators(operator)
	pgod.Start()
	deployed(t, pgod, web, commit)
	before := startedAt(t, web)

	for _, run := range []func(*rig.Key, ...string) rig.Result{pgod.SSH, pgod.Pgoctl} {
		says(t, run(operator, web.Op("ping")).Exits(t, 0).Stdout, "pong!")
		says(t, run(operator, "//ping").Exits(t, 0).Stdout, "pong!")
		says(t, run(operator, "//version").Exits(t, 0).Stdout, "pgod test")
	}
	says(t, pgod.SSH(operator, "no-such-service//ping").Exits(t, 404%256).Stderr, "no service no-such-service is configured")
	pgod.Pgoctl(operator, "no-such-service//ping").Exits(t, 68)

	for _, how := range []string{"restart", "kill"} {
		operation := "worker " + how
		says(t, pgod.SSH(web.Key, web.Op(operation)).Exits(t, 401%256).Stderr, "Unauthorized: "+operation+" is for operators")
		worker := pgod.WorkerPID(web)
		says(t, pgod.SSH(operator, web.Op("worker status")).Exits(t, 0).Stdout, "worker:    ready", fmt.Sprintf("pid %d", worker))
		says(t, pgod.Pgoctl(operator, web.Op("worker"), how).Exits(t, 0).Stdout, "a new one is started")
		replaced(t, pgod, web, worker)
		shows(t, pgod, web, "worker:    ready")
		pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
	}
	stays(t, web, before, "ending the worker")
}

// An SSH agent may offer other keys first: no banner is sent for them, and enough tries are
// left.
func TestAgentWithOtherKeys(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	web.Push("first", r.Idle())
	pgod := r.Start(web)
	pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
	ssh := pgod.SSHCommand(web.Key, web.Op("ping"))
	ssh.Args = slices.Insert(ssh.Args, 1, "-i", r.Key("other").File, "-i", r.Key("another").File)
	if result := rig.Run(t, ssh).Exits(t, 0); result.Stderr != "" {
		t.Errorf("ssh with other keys first is told %q", result.Stderr)
	}
	ctl := pgod.PgoctlCommand(r.Key("third"), "-i", web.Key.File, web.Op("ping"))
	if result := rig.Run(t, ctl).Exits(t, 0); result.Stderr != "" {
		t.Errorf("pgoctl with another key first is told %q", result.Stderr)
	}
}

// Root on the host needs no key and no options: pgod makes a key for it, also in place of one that
// is gone or broken, and pgoctl finds that one and the host's own. The old one counts no more.
func TestRootOfTheHost(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	web.Push("first", r.Idle())
	pgod := r.Pgod(web)
	pgod.Start()
	pgoctl := func(words ...string) rig.Result {
		t.Helper()
		_, port, err := net.SplitHostPort(pgod.Address)
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command(r.Program("pgoctl"), append([]string{"--port", port}, words...)...)
		c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
		return rig.Run(t, c)
	}
	says(t, pgoctl("localhost://status").Exits(t, 0).Stdout, web.Name)
	rig.Until(t, "the service to answer", func() error {
		if pgoctl("127.0.0.1:"+web.Name+"//ping").Code != 0 {
			return errors.New("it does not")
		}
		return nil
	})
	root := &rig.Key{File: filepath.Join(pgod.Dir, "root_key")}
	pgod.SSH(root, "//ping").Exits(t, 0)
	info, err := os.Stat(root.File)
	if err != nil || info.Mode() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("root's key: %v, %v", info, err)
	}

	old := &rig.Key{File: filepath.Join(t.TempDir(), "old")}
	if err := os.Rename(root.File, old.File); err != nil {
		t.Fatal(err)
	}
	pgod.Reload()
	rig.Until(t, "another key to be made", func() error {
		_, err := os.Stat(root.File)
		return err
	})
	rig.Until(t, "the old key to be refused", func() error {
		if pgod.SSH(old, "//ping").Code == 0 {
			return errors.New("it is still an operator's")
		}
		return nil
	})
	pgod.SSH(root, "//ping").Exits(t, 0)
	put(t, root.File, "no key", 0o600)
	pgod.Restart()
	pgoctl("localhost://ping").Exits(t, 0)
}

// After a restart of pgod with a worker that cannot be started, for example one of another build,
// developers hear that and why. They are not turned away like strangers.
func TestWorkerThatCannotStart(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, other, stranger := r.Service("web"), r.Service("other"), r.Key("stranger")
	commits := []string{web.Push("first", r.Idle()), other.Push("first", r.Idle())}
	pgod := r.Start(web, other)
	deployed(t, pgod, web, commits[0])
	deployed(t, pgod, other, commits[1])

	broken := filepath.Join(t.TempDir(), "pgo-worker")
	put(t, broken, "#!/bin/sh\necho 'of another build'\n", 0o755)
	if err := os.Chmod(filepath.Dir(broken), 0o755); err != nil {
		t.Fatal(err)
	}
	pgod.Flags = []string{"--worker", broken}
	pgod.Restart()
	for _, operation := range []string{"ping", "ps", "status"} {
		says(t, pgod.SSH(web.Key, web.Op(operation)).Exits(t, 503%256).Stderr, "the worker of "+web.Name+" is ")
		pgod.SSH(other.Key, web.Op(operation)).Exits(t, 503%256)
	}
	pgod.SSH(stranger, web.Op("ping")).Exits(t, 255)
	pgod.Flags = nil
	pgod.Restart()
	rig.Until(t, "the service to answer", func() error { return ping(pgod, web, web.Key) })
	pgod.SSH(other.Key, web.Op("ping")).Exits(t, 401%256)
}
