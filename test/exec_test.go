package test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/moby/client"
	"golang.org/x/crypto/ssh"

	"pgo/test/rig"
)

// clients returns pgoctl and a stock ssh, which encode an exit status differently.
func clients(pgod *rig.Pgod) map[string]func(*rig.Key, ...string) *exec.Cmd {
	return map[string]func(*rig.Key, ...string) *exec.Cmd{"pgoctl": pgod.PgoctlCommand, "ssh": pgod.SSHCommand}
}

// A program in a container has its own streams and its own status, and runs as the flags say.
func TestExec(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	// Engines differ in what they make of a program that is missing.
	missing := rig.Run(t, exec.Command("docker", "exec", byService(t, web)["talker"].ID, "no-such-program")).Code
	if missing != 126 && missing != 127 {
		t.Errorf("docker exec ends with %d where the program is missing", missing)
	}
	for _, c := range []struct {
		words          []string
		code           int
		stdout, stderr string
	}{
		{[]string{"talker", "sh", "-c", "echo out; echo err >&2; exit 3"}, 3, "out\n", "err\n"},
		{[]string{"-T", "talker", "sh", "-c", `printf '%s|' "$@"`, "sh", "a b", "", "$HOME", "--x", "'"}, 0, "a b||$HOME|--x|'|", ""},
		{[]string{"-w", "/tmp", "talker", "pwd"}, 0, "/tmp\n", ""},
		{[]string{"--user", "7:8", "talker", "id", "-u"}, 0, "7\n", ""},
		{[]string{"-e", "A=1", "--env=B=2 3", "talker", "sh", "-c", "echo $A $B"}, 0, "1 2 3\n", ""},
		{[]string{"-iT", "--index", "1", "talker", "echo", "-n", "one"}, 0, "one", ""},
		{[]string{"talker", "sh", "-c", "kill -KILL $$"}, 137, "", ""},
		{[]string{"talker", "no-such-program"}, missing, "no-such-program", ""},
		{[]string{"nobody", "true"}, 400, "", "no such service: nobody"},
		{[]string{"takler", "true"}, 400, "", "did you mean talker?"},
		{[]string{"--index", "2", "talker", "true"}, 1, "", `has no running container 2`},
		{[]string{"talker"}, 400, "", "exec needs a compose service and a command"},
		{[]string{"--privileged", "talker", "id"}, 400, "", `exec does not take "--privileged"`},
		{[]string{"-e", "A", "talker", "id"}, 400, "", "--env NAME=value"},
	} {
		for client, command := range clients(pgod) {
			words := c.words
			if client == "ssh" {
				words = quoted(words)
			}
			got := rig.Run(t, command(web.Key, append([]string{web.Op("exec")}, words...)...))
			code := c.code
			if code == 400 {
				code = map[string]int{"ssh": 400 % 256, "pgoctl": 64}[client]
			}
			if got.Code != code || !fits(got.Stdout, c.stdout) || c.stderr != "" && !strings.Contains(got.Stderr, c.stderr) {
				t.Errorf("%s exec %q: %+v\nexpected %d, %q, %q", client, c.words, got, code, c.stdout, c.stderr)
			}
		}
	}

	// pgoctl asks for a terminal, whether or not it has one; ssh has to be told.
	says(t, pgod.SSH(web.Key, web.Op("exec"), "--tty", "talker", "tty").Exits(t, 400%256).Stderr, "exec --tty needs a terminal")
	pgod.Pgoctl(web.Key, web.Op("exec"), "--tty", "talker", "test", "-t", "0").Exits(t, 0)

	pgod.SSH(web.Key, web.Op("exec"), "-d", "talker", "touch", "/tmp/detached").Exits(t, 0)
	rig.Until(t, "the detached program to have run", func() error {
		got := pgod.SSH(web.Key, web.Op("exec"), "talker", "ls", "/tmp")
		return has(got.Stdout, "detached")
	})
}

// Input arrives byte for byte, and so does its end; without stdin, the input is empty.
func TestExecInput(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	data := make([]byte, 8<<20)
	_, _ = rand.Read(data)
	for client, command := range clients(pgod) {
		cat := command(web.Key, web.Op("exec"), "-T", "talker", "cat")
		var stdout bytes.Buffer
		cat.Stdin, cat.Stdout = bytes.NewReader(data), &stdout
		if err := cat.Run(); err != nil {
			t.Errorf("%s exec cat: %v", client, err)
		}
		if !bytes.Equal(stdout.Bytes(), data) {
			t.Errorf("%s exec cat: the %d bytes that came back are not the %d that were sent", client, stdout.Len(), len(data))
		}
		none := rig.Run(t, command(web.Key, web.Op("exec"), "talker", "cat")) // its stdin is /dev/null
		if none.Exits(t, 0).Stdout != "" {
			t.Errorf("%s exec cat without input printed %q", client, none.Stdout)
		}
		// A program that ends without reading all of its input ends its client.
		early := command(web.Key, web.Op("exec"), "-T", "talker", "false")
		early.Stdin = bytes.NewReader(data)
		if got := rig.Run(t, early); got.Code != 1 {
			t.Errorf("%s exec false: %+v", client, got)
		}
	}
}

// A gigabyte passes through, and the memory of pgod and the worker does not grow by it.
func TestExecGigabyte(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	pgod.SSH(web.Key, web.Op("exec"), "-T", "talker", "true").Exits(t, 0)
	pids := map[string]int{"pgod": pgod.PID(), "pgo-worker": pgod.WorkerPID(web)}
	before := map[string]int{}
	for name, pid := range pids {
		before[name] = peak(t, pid)
	}
	const size = 1 << 30
	sum := sha256.New()
	zeros := io.TeeReader(io.LimitReader(zero{}, size), sum)
	cmd := pgod.SSHCommand(web.Key, web.Op("exec"), "-T", "talker", "busybox", "sha256sum")
	cmd.Stdin = zeros
	got, err := cmd.Output()
	if want := hex.EncodeToString(sum.Sum(nil)); err != nil || !strings.HasPrefix(string(got), want) {
		t.Errorf("a gigabyte arrived as %q, not %s: %v", got, want, err)
	}
	for name, pid := range pids {
		const most = 64 << 10 // KiB
		if grown := peak(t, pid) - before[name]; grown > most {
			t.Errorf("%s has grown by %d KiB, more than %d", name, grown, most)
		}
	}
}

// zero is an endless file of zeros that costs its reader nothing.
type zero struct{}

func (zero) Read(b []byte) (int, error) { return len(b), nil }

// peak returns the peak memory of a process, in KiB.
func peak(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(strings.Fields(line)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// dial connects with Go's own SSH client.
func dial(t *testing.T, pgod *rig.Pgod, key *rig.Key) *ssh.Client {
	t.Helper()
	text, err := os.ReadFile(key.File)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	client, err := ssh.Dial("tcp", pgod.Address, &ssh.ClientConfig{
		User:            "anyone",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.FixedHostKey(pgod.HostKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// inside is a condition to wait for: a process of the talker's container has the words.
func inside(pgod *rig.Pgod, web *rig.Service, words string) func() error {
	return func() error { return has(pgod.SSH(web.Key, web.Op("top")).Stdout, words) }
}

func notInside(pgod *rig.Pgod, web *rig.Service, words string) func() error {
	return func() error {
		if inside(pgod, web, words)() == nil {
			return errors.New(words + " still runs")
		}
		return nil
	}
}

// When a client disconnects, its program in the container is ended: the engine would let it run
// for ever.
func TestExecEndsWithItsClient(t *testing.T) {
	t.Parallel()
	r, pgod, web := runningTalker(t)
	for n, leave := range map[string]func(*exec.Cmd){
		"4001": func(c *exec.Cmd) { _ = c.Process.Kill() },
		"4002": func(c *exec.Cmd) { _ = c.Process.Signal(syscall.SIGTERM) },
	} {
		cmd := pgod.SSHCommand(web.Key, web.Op("exec"), "-T", "talker", "sh", "-c", `"sleep `+n+`; echo"`)
		follow := start(t, cmd)
		rig.Until(t, "the program to run", inside(pgod, web, "sleep "+n))
		leave(cmd)
		_ = follow.Wait()
		rig.Until(t, "the program to end", notInside(pgod, web, "sleep "+n))
	}

	// The same when the key is removed: an operator's from the operators' list.
	operator := r.Key("operator")
	pgod.Operators(operator)
	rig.Until(t, "the operator to be known", func() error { return ping(pgod, web, operator) })
	follow := start(t, pgod.SSHCommand(operator, web.Op("exec"), "-T", "talker", "sleep", "4003"))
	rig.Until(t, "the program to run", inside(pgod, web, "sleep 4003"))
	pgod.NoOperators()
	follow.ends(t, 401%256)
	says(t, follow.stderr.String(), unauthorized("anyone", web.Name))
	rig.Until(t, "the program to end", notInside(pgod, web, "sleep 4003"))
}

// idle waits until nothing but the talker itself runs in its container.
func idle(t *testing.T, web *rig.Service) {
	t.Helper()
	engine, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = engine.Close() }()
	id := rig.Containers(t, web.Name)[0].ID
	rig.Until(t, "all programs that were run in the container to end", func() error {
		inspect, err := engine.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
		if err != nil {
			return err
		}
		for _, id := range inspect.Container.ExecIDs {
			if run, err := engine.ExecInspect(t.Context(), id, client.ExecInspectOptions{}); err == nil && run.Running {
				return fmt.Errorf("%v runs", run.ID)
			}
		}
		return nil
	})
}

// A client that disconnects right after sending its command leaves nothing behind either.
func TestExecEndsBeforeItBegan(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	for range 10 {
		c := dial(t, pgod, web.Key)
		session, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if err := session.Start(web.Op("exec") + " talker sleep 4010"); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	// By the time that this one is done, those before it have begun, if they ever do.
	pgod.SSH(web.Key, web.Op("exec"), "talker", "true").Exits(t, 0)
	idle(t, web)
	if err := notInside(pgod, web, "sleep 4010")(); err != nil {
		t.Error(err)
	}
}

// A lost connection is not the end of the input: half a file must not look like a whole one.
func TestExecLostClient(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	script := "'cat > /tmp/part && busybox mv /tmp/part /tmp/whole'"
	for range 5 {
		c := dial(t, pgod, web.Key)
		session, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		stdin, err := session.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := session.Start(web.Op("exec") + " talker sh -c " + script); err != nil {
			t.Fatal(err)
		}
		if _, err := stdin.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		rig.Until(t, "the half to be written", func() error {
			return has(pgod.SSH(web.Key, web.Op("exec"), "talker", "ls", "/tmp").Stdout, "part")
		})
		c.Close()
		idle(t, web)
		if ls := pgod.SSH(web.Key, web.Op("exec"), "talker", "ls", "/tmp").Stdout; strings.Contains(ls, "whole") {
			t.Fatalf("half a file was taken for a whole one: %s", ls)
		}
		pgod.SSH(web.Key, web.Op("exec"), "talker", "rm", "/tmp/part").Exits(t, 0)
	}
}

// A worker that is stopped ends what it runs in containers, and the clients.
func TestExecEndsWithItsWorker(t *testing.T) {
	t.Parallel()
	r, pgod, web := runningTalker(t)
	operator := r.Key("operator")
	pgod.Operators(operator)
	rig.Until(t, "the operator to be known", func() error { return ping(pgod, web, operator) })
	follow := start(t, pgod.SSHCommand(web.Key, web.Op("exec"), "talker", "sleep", "4020"))
	rig.Until(t, "the program to run", inside(pgod, web, "sleep 4020"))
	pgod.SSH(operator, web.Op("worker"), "restart").Exits(t, 0)
	follow.ends(t, 503%256)
	rig.Until(t, "the program to end", notInside(pgod, web, "sleep 4020"))
}

// Signals reach the program, which may handle them as it likes.
func TestExecSignals(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	client := dial(t, pgod, web.Key)
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	stdout, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	script := `trap 'echo got one' USR1; trap 'echo bye; exit 9' INT; echo ready; while :; do sleep 0.1; done`
	if err := session.Start(web.Op("exec") + " talker sh -c " + quoted([]string{script})[0]); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	hears(t, lines, "ready")
	for _, c := range []struct {
		signal ssh.Signal
		line   string
	}{{ssh.SIGUSR1, "got one"}, {ssh.SIGINT, "bye"}} {
		if err := session.Signal(c.signal); err != nil {
			t.Error(err)
		}
		hears(t, lines, c.line)
	}
	if exit := new(ssh.ExitError); !errors.As(session.Wait(), &exit) || exit.ExitStatus() != 9 {
		t.Errorf("it ended with %v, not 9", exit)
	}
}

// A client that reads nothing holds up only its own program, and pgod buffers nothing for it.
func TestExecSlowReader(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	before := peak(t, pgod.PID()) + peak(t, pgod.WorkerPID(web))
	client := dial(t, pgod, web.Key)
	for range 8 {
		session, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		if _, err := session.StdoutPipe(); err != nil { // and nobody reads it
			t.Fatal(err)
		}
		if err := session.Start(web.Op("exec") + " talker busybox yes"); err != nil {
			t.Fatal(err)
		}
	}
	rig.Until(t, "all programs to run", func() error {
		if n := strings.Count(pgod.SSH(web.Key, web.Op("top")).Stdout, "busybox yes"); n != 8 {
			return fmt.Errorf("%d run", n)
		}
		return nil
	})
	for range 20 {
		pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
	}
	const most = 64 << 10 // KiB
	if grown := peak(t, pgod.PID()) + peak(t, pgod.WorkerPID(web)) - before; grown > most {
		t.Errorf("pgod and the worker have grown by %d KiB, more than %d", grown, most)
	}
	client.Close()
	rig.Until(t, "all programs to end", notInside(pgod, web, "busybox yes"))
}

// A compose process that is killed is reported to its client as a signal.
func TestKilledCompose(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	follow := start(t, pgod.PgoctlCommand(web.Key, web.Op("logs"), "-f"))
	kill(t, composing(t, web, "logs").PID)
	follow.ends(t, 128+int(syscall.SIGKILL))
	says(t, follow.stderr.String(), "[ERROR] Process exited with signal KILL")
}
