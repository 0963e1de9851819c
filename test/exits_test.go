package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"pgo/internal/target"
	"pgo/test/rig"
)

// Each exit status of the manual is provoked, and checked on the wire, as pgoctl's exit code
// and as a stock client's.
func TestExitStatuses(t *testing.T) {
	t.Parallel()
	e := newExits(t)
	manual := exitsOfManual(t)
	for _, row := range []struct {
		name   string
		status int // on the wire
		code   int // of pgoctl
		says   string
		key    *rig.Key
		words  []string
	}{
		{"all is well", 0, 0, "", e.web.Key, []string{e.web.Op("ping")}},
		{"the command's own", 3, 3, "", e.web.Key, []string{e.web.Op("exec"), "talker", "sh", "-c", "exit 3"}},
		{"the command's own, the highest", 255, 255, "", e.web.Key, []string{e.web.Op("exec"), "talker", "sh", "-c", "exit 255"}},
		{"compose's own", 1, 1, "no port 9/tcp", e.web.Key, []string{e.web.Op("port"), "talker", "9"}},
		{"no such argument", target.StatusUsage, 64, `ping takes no argument "loudly"`, e.web.Key, []string{e.web.Op("ping"), "loudly"}},
		{"another's key", target.StatusUnauthorized, 77, "Unauthorized: Key for user", e.slow.Key, []string{e.web.Op("ping")}},
		{"not an operator's key", target.StatusUnauthorized, 77, "is not an operator's", e.web.Key, []string{"//version"}},
		{"refused by the policy", target.StatusRefused, 78, "the policy refuses", e.greedy.Key, []string{e.greedy.Op("check")}},
		{"no such commit", target.StatusNotFound, 68, "0123abc", e.web.Key, []string{e.web.Op("rollback"), "0123abc"}},
		{"no such service", target.StatusNotFound, 68, "no service nobody is configured", e.operator, []string{"nobody//ping"}},
		{"frozen", target.StatusConflict, 75, "run unfreeze", e.web.Key, []string{e.web.Op("up")}},
		{"damaged on disk", target.StatusFault, 70, "state.json", e.operator, []string{e.damaged.Op("up")}},
		{"no git server", target.StatusFailed, 76, "connection refused", e.operator, []string{e.lost.Op("git pull")}},
		{"no engine", target.StatusFailed, 76, "docker.sock", e.adrift.Key, []string{e.adrift.Op("up")}},
		{"no worker", target.StatusUnavailable, 69, "the worker of ", e.operator, []string{e.orphan.Op("ping")}},
		{"too long", target.StatusDeadline, 74, "timeout of 2s has expired", e.slow.Key, []string{e.slow.Op("up")}},
	} {
		if code, ok := manual[row.status]; ok && code != row.code {
			t.Errorf("%s: the manual says %d, not %d", row.name, code, row.code)
		}
		delete(manual, row.status)
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			raw := e.raw(t, row.key, row.words)
			stock := e.pgod.SSH(row.key, append(row.words[:1:1], quoted(row.words[1:])...)...)
			ctl := e.pgod.Pgoctl(row.key, row.words...)
			if raw != row.status || stock.Code != row.status%256 || ctl.Code != row.code {
				t.Errorf("%d on the wire, %d of ssh, %d of pgoctl, not %d, %d, %d\n%+v\n%+v",
					raw, stock.Code, ctl.Code, row.status, row.status%256, row.code, stock, ctl)
			}
			says(t, stock.Stderr, row.says)
			says(t, ctl.Stderr, row.says)
			if last := fmt.Sprintf("[ERROR] Process exited with status %d\n", row.status); row.status != 0 && !strings.HasSuffix(ctl.Stderr, last) {
				t.Errorf("pgoctl ends with %q, not %q", ctl.Stderr, last)
			}
		})
	}
	for status := range manual {
		t.Errorf("the manual has the status %d, which nothing here provokes", status)
	}
}

// exitsOfManual returns pgoctl's exit codes by the statuses on the wire.
func exitsOfManual(t *testing.T) map[int]int {
	t.Helper()
	text, err := os.ReadFile("../cmd/pgoctl/pgoctl.1.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := map[int]int{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d{3}) \| (\d+) \|`).FindAllStringSubmatch(string(text), -1) {
		status, err1 := strconv.Atoi(row[1])
		code, err2 := strconv.Atoi(row[2])
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		codes[status] = code
	}
	if len(codes) < 9 {
		t.Fatalf("the manual has %d statuses: %v", len(codes), codes)
	}
	return codes
}

// exits is a pgod with services that are in trouble, each in its own way.
type exits struct {
	pgod     *rig.Pgod
	operator *rig.Key

	web     *rig.Service // runs, and is frozen
	greedy  *rig.Service // asks for more than it may
	damaged *rig.Service // has lost its state
	lost    *rig.Service // has no git server
	adrift  *rig.Service // has no engine
	orphan  *rig.Service // has no user, and so no worker
	slow    *rig.Service // takes longer than it may
}

func newExits(t *testing.T) *exits {
	t.Helper()
	r := rig.New(t)
	e := &exits{
		operator: r.Key("operator"),
		web:      r.Service("web"),
		greedy:   r.Service("greedy"),
		damaged:  r.Service("damaged").Set("ignore", true),
		lost:     r.Service("lost").Set("repository", fmt.Sprintf("http://127.0.0.1:%d/lost", r.Port())),
		adrift:   r.Service("adrift").Set("ignore", true).Set("docker_host", "unix://"+filepath.Join(r.Dir, "docker.sock")),
		orphan:   r.Service("orphan").Set("user", r.Prefix+"-nobody"),
		slow:     r.Service("slow").Set("ignore", true).Set("timeout", "2s"),
	}
	commit := e.web.Push("first", talker(r))
	greedy := r.Idle()
	e.greedy.Push("first", greedy.With("compose.yaml", greedy["compose.yaml"]+"    privileged: true\n"))
	e.damaged.Push("first", r.Idle())
	e.adrift.Push("first", r.Idle())
	slow := e.slow.Push("first", slowBuild(r, "never", "600"))
	e.pgod = r.Pgod(e.web, e.greedy, e.damaged, e.lost, e.adrift, e.orphan, e.slow)
	e.pgod.Operators(e.operator)
	e.pgod.Start()

	deployed(t, e.pgod, e.web, commit)
	e.pgod.SSH(e.web.Key, e.web.Op("freeze")).Exits(t, 0)
	shows(t, e.pgod, e.greedy, "last:      refused")
	shows(t, e.pgod, e.damaged, "last:      held")
	state := filepath.Join(serviceDir(e.pgod, e.damaged), "state.json")
	put(t, state, "{", 0o600)
	if err := os.Chown(state, e.damaged.User.UID, e.damaged.User.GID); err != nil {
		t.Fatal(err)
	}
	e.pgod.SSH(e.operator, e.damaged.Op("worker restart")).Exits(t, 0)
	showsTo(t, e.pgod, e.operator, e.damaged, "worker:    ready", "state.json")
	shows(t, e.pgod, e.adrift, "last:      failed", "cannot reach the Docker engine")
	showsTo(t, e.pgod, e.operator, e.orphan, "worker:    backoff")
	shows(t, e.pgod, e.slow, "head:      "+slow[:7])
	return e
}

// raw returns the status as it is on the wire.
func (e *exits) raw(t *testing.T, key *rig.Key, words []string) int {
	t.Helper()
	session, err := dial(t, e.pgod, key).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	err = session.Run(strings.Join(append(words[:1:1], quoted(words[1:])...), " "))
	if exit := new(ssh.ExitError); errors.As(err, &exit) {
		return exit.ExitStatus()
	}
	if err != nil {
		t.Errorf("%q: %v", words, err)
	}
	return 0
}

// A client learns that a signal ended its command, and pgoctl exits as shells do then.
func TestExitSignals(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)

	session, err := dial(t, pgod, web.Key).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start(web.Op("logs") + " -f"); err != nil {
		t.Fatal(err)
	}
	kill(t, composing(t, web, "logs").PID)
	if exit := new(ssh.ExitError); !errors.As(session.Wait(), &exit) || exit.Signal() != "KILL" {
		t.Errorf("on the wire it is %v", exit)
	}
	for client, code := range map[string]int{"pgoctl": 128 + int(syscall.SIGKILL), "ssh": 255} {
		follow := start(t, clients(pgod)[client](web.Key, web.Op("logs"), "-f"))
		kill(t, composing(t, web, "logs").PID)
		follow.ends(t, code)
		if client == "pgoctl" {
			says(t, follow.stderr.String(), "[ERROR] Process exited with signal KILL")
		}
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		follow := start(t, pgod.PgoctlCommand(web.Key, web.Op("logs"), "-f"))
		compose := composing(t, web, "logs")
		if err := follow.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		follow.ends(t, 128+int(signal))
		rig.Until(t, "compose to end", gone(compose))
	}
}

// Without a connection to the right host there is no status at all.
func TestExitWithoutConnection(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	web.Push("first", r.Idle())
	pgod := r.Start(web)

	other, err := ssh.ParsePrivateKey([]byte(r.Key("other-host").PEM))
	if err != nil {
		t.Fatal(err)
	}
	impostor := filepath.Join(r.Dir, "impostor")
	put(t, impostor, knownhosts.Line([]string{pgod.Address}, other.PublicKey())+"\n", 0o600)
	closed := fmt.Sprint(r.Port())
	for _, c := range []struct {
		name     string
		ctl, ssh []string // flags
		says     []string
	}{
		{"nothing listens", []string{"--port", closed}, []string{"-p", closed}, nil},
		{"another host key", []string{"--known-hosts", impostor}, []string{"-o", "UserKnownHostsFile=" + impostor}, []string{ssh.FingerprintSHA256(pgod.HostKey())}},
		{"no such key", []string{"--identity", "/nonexistent"}, []string{"-o", "PubkeyAuthentication=no"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctl := pgod.Pgoctl(web.Key, append(c.ctl, web.Op("ping"))...).Exits(t, target.ExitNoConnection)
			says(t, ctl.Stderr, c.says...)
			cmd := pgod.SSHCommand(web.Key, web.Op("ping"))
			cmd.Args = slices.Insert(cmd.Args, 1, c.ssh...)
			stock := rig.Run(t, cmd).Exits(t, target.ExitNoConnection)
			says(t, stock.Stderr, c.says...)
			if ctl.Stdout+stock.Stdout != "" {
				t.Errorf("there was output: %q, %q", ctl.Stdout, stock.Stdout)
			}
		})
	}
}
