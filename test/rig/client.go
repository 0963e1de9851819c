package rig

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Result is the outcome of a client's command.
type Result struct {
	Command        string
	Stdout, Stderr string
	Code           int
}

// Exits ends the test unless the command exited with the code.
func (r Result) Exits(t testing.TB, code int) Result {
	t.Helper()
	if r.Code != code {
		t.Fatalf("exit code %d, not %d: %s\nstdout: %s\nstderr: %s", r.Code, code, r.Command, r.Stdout, r.Stderr)
	}
	return r
}

// Pgoctl runs pgoctl to its end. The first of the words with "//" in it is the operation; the
// host is put before it:
//
//	pgod.Pgoctl(web.Key, web.Op("logs"), "--tail", "5")
//	pgod.Pgoctl(operator, "--json", "//status")
func (p *Pgod) Pgoctl(key *Key, words ...string) Result {
	p.rig.t.Helper()
	return Run(p.rig.t, p.PgoctlCommand(key, words...))
}

// SSH runs the stock client to its end; the words are the remote command.
func (p *Pgod) SSH(key *Key, words ...string) Result {
	p.rig.t.Helper()
	return Run(p.rig.t, p.SSHCommand(key, words...))
}

// PgoctlCommand prepares a pgoctl, for tests that follow its output or change
// its environment. Without a key no identity is named.
func (p *Pgod) PgoctlCommand(key *Key, words ...string) *exec.Cmd {
	p.rig.t.Helper()
	_, port := p.hostPort()
	args := []string{"--port", port, "--known-hosts", p.knownHosts()}
	if key != nil {
		args = append(args, "--identity", key.File)
	}
	placed := false
	for _, word := range words {
		if !placed && strings.Contains(word, "//") {
			word, placed = "127.0.0.1:"+word, true
		}
		args = append(args, word)
	}
	return p.client(p.rig.Program("pgoctl"), args...)
}

// SSHCommand prepares a stock ssh that has the one key and no configuration.
func (p *Pgod) SSHCommand(key *Key, words ...string) *exec.Cmd {
	p.rig.t.Helper()
	host, port := p.hostPort()
	args := []string{
		"-F", "none", "-p", port, "-i", key.File,
		"-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
		"-o", "UserKnownHostsFile=" + p.knownHosts(), "-o", "GlobalKnownHostsFile=none",
		"anyone@" + host, "--",
	}
	return p.client("ssh", append(args, words...)...)
}

// client prepares a command that finds neither the agent nor the keys of
// whoever runs the tests.
func (p *Pgod) client(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.rig.Dir, "USER=tester"}
	return cmd
}

func (p *Pgod) hostPort() (host, port string) {
	p.rig.t.Helper()
	host, port, err := net.SplitHostPort(p.Address)
	if err != nil {
		p.rig.t.Fatalf("pgod's address: %v", err)
	}
	return host, port
}

// knownHosts returns the file that has pgod's key for its address.
func (p *Pgod) knownHosts() string {
	return filepath.Join(filepath.Dir(p.ConfigFile), "known_hosts")
}

// Run runs a command to its end, which must come within the rig's patience.
func Run(t testing.TB, cmd *exec.Cmd) Result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A grandchild that holds the pipes must not hold up the test.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timeout := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	result := Result{Command: fmt.Sprint(cmd.Args), Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
	if !timeout.Stop() {
		t.Fatalf("%s has not ended within %s\nstdout: %s\nstderr: %s", result.Command, patience, result.Stdout, result.Stderr)
	}
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("%s: %v", result.Command, err)
	}
	return result
}
