package sshd

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"crypto/ed25519"
	"crypto/rand"

	"golang.org/x/crypto/ssh"

	"pgo/internal/target"
	"pgo/internal/wait"
)

// stockClient is OpenSSH's, with a configuration of its own.
type stockClient struct {
	t    *testing.T
	args []string
}

func newStockClient(t *testing.T, h *host, identities ...string) *stockClient {
	t.Helper()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Fatal("these tests need OpenSSH's client: apt-get install openssh-client")
	}
	_, port, err := net.SplitHostPort(h.addr)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{
		"-F", "none", "-p", port,
		"-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
		"-o", "BatchMode=yes", "-o", "IdentityAgent=none", "-o", "IdentitiesOnly=yes",
	}
	for _, identity := range identities {
		args = append(args, "-i", identity)
	}
	return &stockClient{t, args}
}

// run returns what the client printed, and its exit status.
func (c *stockClient) run(args ...string) (stdout, stderr string, status int) {
	c.t.Helper()
	var out, err bytes.Buffer
	cmd := exec.CommandContext(c.t.Context(), "ssh", slices.Concat(c.args, args)...)
	cmd.Stdout, cmd.Stderr = &out, &err
	failure := cmd.Run()
	if exit := new(exec.ExitError); failure != nil && !errors.As(failure, &exit) {
		c.t.Fatal(failure)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// writeKey writes a key pair to files and returns the private one's name.
func writeKey(t *testing.T, name string) (string, ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer := mustSigner(ssh.NewSignerFromKey(private))
	path := filepath.Join(t.TempDir(), name)
	if err := errors.Join(
		os.WriteFile(path, pem.EncodeToMemory(block), 0o600),
		os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	return path, signer
}

func TestStockClient(t *testing.T) {
	t.Parallel()
	h := startHost(t, backend{run: func(_ context.Context, s Command) Exit {
		fmt.Fprintf(s.Stdout, "%q", s.Command.Args)
		var status uint32
		_, err := fmt.Sscan(s.Command.Service, &status)
		if err != nil {
			return Exit{}
		}
		return Exit{Status: status}
	}})
	key, _ := writeKey(t, "id")
	client := newStockClient(t, h, key)

	for status, want := range map[int]int{0: 0, 1: 1, 17: 17, 255: 255, 400: 144, 401: 145, 403: 147, 503: 247} {
		if _, stderr, got := client.run("127.0.0.1", "--", fmt.Sprintf("%d//ps", status)); got != want {
			t.Errorf("status %d arrives as %d, not %d: %s", status, got, want, stderr)
		}
	}
	if stdout, _, _ := client.run("-n", "127.0.0.1", "--", "pgo//ps", "-a", "'a b'", "$HOME"); stdout != `["-a" "a b" "$HOME"]` {
		t.Errorf("arguments arrive as %s", stdout)
	}
	// The answer to a login without a command, as to any other host.
	_, stderr, status := client.run("127.0.0.1")
	if status != target.StatusUsage%256 || !strings.Contains(stderr, noShell) {
		t.Errorf("without a command: %d, %s", status, stderr)
	}
}

func TestStockClientSeesTheOrder(t *testing.T) {
	h := startHost(t, backend{})
	key, _ := writeKey(t, "id")
	_, stderr, _ := newStockClient(t, h, key).run("-vvv", "-o", "LogLevel=DEBUG3", "127.0.0.1", "--", "pgo//ps")
	status := strings.Index(stderr, "rtype exit-status")
	eof := strings.Index(stderr, "channel 0: rcvd eof")
	closed := strings.Index(stderr, "channel 0: rcvd close")
	if status < 0 || eof < status || closed < eof {
		t.Errorf("exit-status, EOF and close came at %d, %d, %d of:\n%s", status, eof, closed, stderr)
	}
}

// A client may offer a key that it does not have. Only the signature decides whose key a command
// runs under.
func TestOfferedKeyIsNotTheIdentity(t *testing.T) {
	victimFile, victim := writeKey(t, "victim")
	attackerFile, attacker := writeKey(t, "attacker")
	if err := os.Remove(victimFile); err != nil {
		t.Fatal(err)
	}
	ran := make(chan Identity, 1)
	h := startHost(t, backend{run: func(_ context.Context, s Command) Exit {
		ran <- s.Identity
		return Exit{}
	}})
	_, stderr, status := newStockClient(t, h, victimFile+".pub", attackerFile).run("-v", "-o", "LogLevel=DEBUG1", "127.0.0.1", "--", "pgo//ps")
	if status != 0 {
		t.Fatalf("%d: %s", status, stderr)
	}
	if !strings.Contains(stderr, "Server accepts key: "+victimFile) {
		t.Fatalf("the test is void: the victim's key was not offered:\n%s", stderr)
	}
	if got := receive(t, "the command runs", ran); got.Fingerprint != ssh.FingerprintSHA256(attacker.PublicKey()) ||
		got.Fingerprint == ssh.FingerprintSHA256(victim.PublicKey()) {
		t.Error("the command runs under a key that was only offered")
	}
}

// Several commands share one connection, which is idle only when none of them runs.
func TestStockClientShares(t *testing.T) {
	t.Parallel()
	const idle = 500 * time.Millisecond
	started, release := make(chan struct{}, 8), make(chan struct{})
	h := startHost(t, backend{run: func(_ context.Context, s Command) Exit {
		if s.Command.Operation == "logs" {
			started <- struct{}{}
			<-release
		}
		fmt.Fprint(s.Stdout, s.Command.Operation)
		return Exit{}
	}}, func(l *Limits) { l.Idle = idle })
	key, _ := writeKey(t, "id")
	client := newStockClient(t, h, key)
	socket := filepath.Join(t.TempDir(), "socket")
	client.args = append(client.args, "-o", "ControlPath="+socket, "-o", "ControlMaster=auto", "-o", "ControlPersist=no")

	type outcome struct {
		stdout, stderr string
		status         int
	}
	long := make(chan outcome)
	for range 2 {
		go func() {
			stdout, stderr, status := client.run("127.0.0.1", "--", "pgo//logs", "-f")
			long <- outcome{stdout, stderr, status}
		}()
		receive(t, "the command runs", started)
	}
	if _, err := os.Stat(socket); err != nil {
		t.Fatalf("the test is void: the client shares nothing: %v", err)
	}
	begun := time.Now()
	for n := 0; n < 3 || time.Since(begun) < 2*idle; n++ {
		if stdout, stderr, status := client.run("127.0.0.1", "--", "pgo//ps"); stdout != "ps" || status != 0 {
			t.Fatalf("a command while others run: %d, %q, %s", status, stdout, stderr)
		}
	}
	h.mu.Lock()
	if len(h.open) != 1 {
		t.Errorf("there are %d connections", len(h.open))
	}
	h.mu.Unlock()
	close(release)
	for range 2 {
		if o := receive(t, "the command ends", long); o.stdout != "logs" || o.status != 0 {
			t.Errorf("a command that ran for long: %+v", o)
		}
	}
}

// A client that asks whether the server is still there gets its answer, even while a command
// prints nothing. Otherwise it would leave after the first question.
func TestStockClientIsAnswered(t *testing.T) {
	t.Parallel()
	h := startHost(t, backend{run: func(ctx context.Context, s Command) Exit {
		_ = wait.For(ctx, 3*time.Second) // the client counts in seconds
		fmt.Fprint(s.Stdout, "done")
		return Exit{}
	}})
	key, _ := writeKey(t, "id")
	stdout, stderr, status := newStockClient(t, h, key).run("-vvv", "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1",
		"127.0.0.1", "--", "pgo//ps")
	if stdout != "done" || status != 0 {
		t.Errorf("%d, %q, %s", status, stdout, stderr)
	}
	if !strings.Contains(stderr, "send packet: type 80") || !strings.Contains(stderr, "receive packet: type 81") {
		t.Errorf("the test is void: nothing was asked, or not granted:\n%s", stderr)
	}
}

// startAgent starts an agent that has these keys, in this order.
func startAgent(t *testing.T, keys ...string) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "agent")
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = agent.Process.Kill()
		_ = agent.Wait() // its status is that of the signal
	})
	eventually(t, "the agent answers", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	add := exec.Command("ssh-add", append([]string{"-q"}, keys...)...)
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("ssh-add: %v, %s", err, out)
	}
	return socket
}

func TestStockClientWithAnAgent(t *testing.T) {
	var files []string
	var signers []ssh.Signer
	for n := range 8 {
		file, signer := writeKey(t, fmt.Sprintf("id%d", n))
		files, signers = append(files, file), append(signers, signer)
	}
	h := startHost(t, backend{knows: knowing(signers[7])})
	client := newStockClient(t, h)
	// The first of two options of a name counts.
	client.args = append([]string{"-o", "IdentitiesOnly=no", "-o", "IdentityFile=none", "-o", "IdentityAgent=" + startAgent(t, files...)}, client.args...)
	_, stderr, status := client.run("-v", "127.0.0.1", "--", "pgo//ping")
	if status != 0 {
		t.Errorf("%d: %s", status, stderr)
	}
	if n := strings.Count(stderr, "Offering public key:"); n != 8 {
		t.Errorf("the test is void: %d keys were offered:\n%s", n, stderr)
	}
}

// What pgod does not offer is refused in the client's own words, and a command that does not need
// it runs.
func TestStockClientIsRefusedCleanly(t *testing.T) {
	t.Parallel()
	h := startHost(t, backend{})
	key, _ := writeKey(t, "id")
	client := newStockClient(t, h, key)
	for _, c := range []struct {
		args   []string
		says   string
		status int
	}{
		{[]string{"-A", "127.0.0.1", "--", "pgo//ps"}, "", 0},
		{[]string{"-X", "127.0.0.1", "--", "pgo//ps"}, "", 0},
		{[]string{"-o", "SendEnv=*", "127.0.0.1", "--", "pgo//ps"}, "", 0},
		{[]string{"-R", "0:127.0.0.1:1", "127.0.0.1", "--", "pgo//ps"}, "remote port forwarding failed", 0},
		{[]string{"-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", "127.0.0.1", "--", "pgo//ps"}, "remote port forwarding failed", 255},
		{[]string{"-W", "127.0.0.1:1", "127.0.0.1"}, "administratively prohibited: pgo runs commands and forwards nothing", 255},
		{[]string{"-s", "127.0.0.1", "sftp"}, "subsystem request failed", 255},
		{[]string{"-w", "0:0", "127.0.0.1", "--", "pgo//ps"}, "", 0},
	} {
		stdout, stderr, status := client.run(append([]string{"-v"}, c.args...)...)
		if stdout != "" || status != c.status || !strings.Contains(stderr, c.says) {
			t.Errorf("%q: %d, %q, %s", c.args, status, stdout, stderr)
		}
	}
}
