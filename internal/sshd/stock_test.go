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
	"strings"
	"testing"

	"crypto/ed25519"
	"crypto/rand"

	"golang.org/x/crypto/ssh"

	"pgo/internal/target"
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
	cmd := exec.CommandContext(c.t.Context(), "ssh", append(c.args, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &err
	failure := cmd.Run()
	if exit := new(exec.ExitError); failure != nil && !errors.As(failure, &exit) {
		c.t.Fatal(failure)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// writeKey makes a key pair of files and returns the private one's name.
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
	h := startHost(t, backend{run: func(_ context.Context, s Session) Exit {
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
	// What somebody sees who tries it as they would any other host.
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

// A client may offer a key that it does not have. Whose key a command runs under is decided
// by the signature alone.
func TestOfferedKeyIsNotTheIdentity(t *testing.T) {
	victimFile, victim := writeKey(t, "victim")
	attackerFile, attacker := writeKey(t, "attacker")
	if err := os.Remove(victimFile); err != nil {
		t.Fatal(err)
	}
	ran := make(chan Identity, 1)
	h := startHost(t, backend{run: func(_ context.Context, s Session) Exit {
		ran <- s.Identity
		return Exit{}
	}})
	_, stderr, status := newStockClient(t, h, victimFile+".pub", attackerFile).run("-v", "-o", "LogLevel=DEBUG1", "127.0.0.1", "--", "pgo//ps")
	if status != 0 {
		t.Fatalf("%d: %s", status, stderr)
	}
	if !strings.Contains(stderr, "Server accepts key: "+victimFile) {
		t.Fatalf("the test is none: the victim's key was not offered:\n%s", stderr)
	}
	if got := receive(t, "the command runs", ran); got.Fingerprint != ssh.FingerprintSHA256(attacker.PublicKey()) ||
		got.Fingerprint == ssh.FingerprintSHA256(victim.PublicKey()) {
		t.Error("the command runs under a key that was only offered")
	}
}
