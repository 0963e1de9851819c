package test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgo/test/rig"
)

// What OpenSSH's client can be told to do.

// with returns the stock client with more flags.
func with(cmd *exec.Cmd, flags ...string) *exec.Cmd {
	cmd.Args = slices.Insert(cmd.Args, 1, flags...)
	return cmd
}

// Whether there is a terminal, and an input, is the client's choice.
func TestStockTerminalAndInput(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	const isTerminal = `'test -t 0 && echo a terminal || echo none'`
	for _, c := range []struct {
		flag, stdin string
		words       []string
		stdout      string
	}{
		{"-T", "", []string{"exec", "talker", "sh", "-c", isTerminal}, "none\n"},
		{"-tt", "", []string{"exec", "talker", "sh", "-c", isTerminal}, "a terminal\r\n"}, // there is none on this side
		{"-tt", "", []string{"exec", "-T", "talker", "sh", "-c", isTerminal}, "none\r\n"},
		{"-tt", "", []string{"ps", "--services"}, "talker\r\n"},
		{"-T", "hello", []string{"exec", "talker", "cat"}, "hello"},
		{"-n", "hello", []string{"exec", "talker", "cat"}, ""},
		{"-n", "hello", []string{"ps", "--services"}, "talker\n"},
	} {
		cmd := with(pgod.SSHCommand(web.Key, append([]string{web.Op(c.words[0])}, c.words[1:]...)...), c.flag)
		cmd.Stdin = strings.NewReader(c.stdin)
		if got := rig.Run(t, cmd).Exits(t, 0).Stdout; got != c.stdout {
			t.Errorf("ssh %s with input %q: %q says %q, not %q", c.flag, c.stdin, c.words, got, c.stdout)
		}
	}
}

// Many sessions share one connection, and a long one does not hold up the others.
func TestStockControlMaster(t *testing.T) {
	t.Parallel()
	r, pgod, web := runningTalker(t)
	socket := filepath.Join(r.Dir, "control")
	master := start(t, with(pgod.SSHCommand(web.Key), "-M", "-S", socket, "-N"))
	rig.Until(t, "the master to be connected", func() error {
		check := rig.Run(t, with(pgod.SSHCommand(web.Key), "-S", socket, "-O", "check"))
		return has(check.Stderr, "Master running")
	})
	// No session has a key that would be accepted by itself.
	stranger := r.Key("stranger")
	session := func(words ...string) *exec.Cmd { return with(pgod.SSHCommand(stranger, words...), "-S", socket) }
	follow := session(web.Op("logs"), "-f")
	pipe, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	hearsPart(t, lines, "line 9")
	var pings []*follower
	for range 4 {
		pings = append(pings, start(t, session(web.Op("ping"))))
	}
	for _, ping := range pings {
		ping.ends(t, 0)
		says(t, ping.stdout.String(), "pong!")
	}
	rig.Run(t, session(web.Op("exec"), "talker", "sh", "-c", `"echo heard >/proc/1/fd/1; exit 3"`)).Exits(t, 3)
	hearsPart(t, lines, "heard")

	// The end of one session does not end the others.
	compose := composing(t, web, "logs")
	if err := follow.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = follow.Wait() // it was interrupted
	rig.Until(t, "compose to end", gone(compose))
	rig.Run(t, session(web.Op("ping"))).Exits(t, 0)
	rig.Run(t, with(pgod.SSHCommand(web.Key), "-S", socket, "-O", "exit")).Exits(t, 0)
	_ = master.Wait() // with whatever status

	sources := map[string]bool{}
	for _, line := range regexp.MustCompile(`command ended.*source=(\S+).*operation=(ping|logs|exec)`).FindAllStringSubmatch(pgod.Log(), -1) {
		sources[line[1]] = true
	}
	if len(sources) != 1 {
		t.Errorf("the sessions came over %d connections: %v", len(sources), sources)
	}
}

// An agent with eight keys offers them one by one, until the last is accepted.
func TestStockAgent(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	web.Push("first", r.Idle())
	pgod := r.Start(web)
	socket := filepath.Join(r.Dir, "agent")
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = agent.Process.Kill()
		_ = agent.Wait()
	})
	keys := make([]string, 7)
	for n := range keys {
		keys[n] = r.Key(fmt.Sprint("other-", n)).File
	}
	for _, key := range append(keys, web.Key.File) {
		rig.Until(t, "the agent to take the key", func() error {
			add := exec.Command("ssh-add", "-q", key)
			add.Env = append(add.Environ(), "SSH_AUTH_SOCK="+socket)
			if out, err := add.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}

	stock := with(pgod.SSHCommand(web.Key, web.Op("ping")), "-v")
	identity := slices.Index(stock.Args, "-i")
	stock.Args = slices.Delete(stock.Args, identity, identity+2)
	stock.Args[slices.Index(stock.Args, "IdentitiesOnly=yes")] = "IdentitiesOnly=no"
	stock.Env = append(stock.Env, "SSH_AUTH_SOCK="+socket)
	told := rig.Run(t, stock).Exits(t, 0)
	if n := strings.Count(told.Stderr, "Offering public key:"); n != 8 {
		t.Errorf("ssh has offered %d keys:\n%s", n, told.Stderr)
	}
	ctl := pgod.PgoctlCommand(nil, web.Op("ping"))
	ctl.Env = append(ctl.Env, "SSH_AUTH_SOCK="+socket)
	if told := rig.Run(t, ctl).Exits(t, 0); told.Stderr != "" {
		t.Errorf("pgoctl is told %q", told.Stderr)
	}
}

// A client that asks whether the server is alive gets an answer while a command runs that
// prints nothing.
func TestStockKeepalive(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	follow := with(pgod.SSHCommand(web.Key, web.Op("logs"), "-f", "-n", "0"), "-vvv", "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1")
	stdout, err1 := follow.StdoutPipe()
	stderr, err2 := follow.StderrPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	log := bufio.NewScanner(stderr)
	for range 4 {
		hearsPart(t, log, "send packet: type 80")    // a global request,
		hearsPart(t, log, "receive packet: type 81") // and its answer
	}
	go func() { _, _ = io.Copy(io.Discard, stderr) }() // a full pipe must not block ssh
	docker(t, "exec", rig.Containers(t, web.Name)[0].ID, "sh", "-c", "echo still here >/proc/1/fd/1")
	hearsPart(t, bufio.NewScanner(stdout), "still here")
	if err := follow.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = follow.Wait() // it was interrupted
}

// Forwarding leads nowhere: the client is refused the channel, and keeps running.
func TestStockForwarding(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	web.Push("first", r.Idle())
	pgod := r.Start(web)
	local, socks := r.Port(), r.Port()
	tunnel := with(pgod.SSHCommand(web.Key), "-N", "-L", fmt.Sprintf("%d:%s", local, pgod.Address), "-D", fmt.Sprint(socks))
	var log bytes.Buffer
	tunnel.Stderr = &log
	if err := tunnel.Start(); err != nil {
		t.Fatal(err)
	}
	for port, hello := range map[int]string{
		local: "",
		socks: "\x04\x01\x00\x16\x7f\x00\x00\x01\x00", // SOCKS 4: connect to port 22 of 127.0.0.1
	} {
		var conn net.Conn
		rig.Until(t, "ssh to listen", func() (err error) {
			conn, err = net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
			return err
		})
		defer conn.Close()
		if _, err := io.WriteString(conn, hello); err != nil {
			t.Fatal(err)
		}
		if answer, _ := io.ReadAll(conn); bytes.Contains(answer, []byte("SSH-")) {
			t.Errorf("port %d leads somewhere: %q", port, answer)
		}
	}
	if err := tunnel.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = tunnel.Wait() // it was interrupted
	if n := strings.Count(log.String(), "administratively prohibited: pgo runs commands and forwards nothing"); n != 2 {
		t.Errorf("ssh was refused %d times:\n%s", n, &log)
	}
}
