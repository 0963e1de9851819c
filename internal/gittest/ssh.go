package gittest

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSHServer is an OpenSSH server that serves git and nothing else, to one key.
type SSHServer struct {
	// URL is what a repository's absolute path is appended to.
	URL string
	// Key is the deploy key: the private key that may log in, PEM.
	Key []byte
	// HostKey is the server's public key, as in a line of known_hosts.
	HostKey ssh.PublicKey
	// KnownHosts is a file that knows the server.
	KnownHosts string
}

// SSH starts an OpenSSH server on a free port of the loopback address. Clients log in as the user
// that the test runs as.
func SSH(t testing.TB) *SSHServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	address := listener.Addr().String()
	hostPEM, hostKey := newKey(t)
	deployPEM, deployKey := newKey(t)
	s := &SSHServer{
		URL:        "ssh://" + me.Username + "@" + address,
		Key:        deployPEM,
		HostKey:    hostKey,
		KnownHosts: filepath.Join(dir, "known_hosts"),
	}
	write(t, filepath.Join(dir, "host_key"), hostPEM)
	write(t, filepath.Join(dir, "authorized_keys"), fmt.Appendf(nil,
		"restrict,command=\"git-shell -c \\\"$SSH_ORIGINAL_COMMAND\\\"\" %s", ssh.MarshalAuthorizedKey(deployKey)))
	write(t, s.KnownHosts, []byte(knownhosts.Line([]string{address}, hostKey)+"\n"))
	write(t, filepath.Join(dir, "sshd_config"), fmt.Appendf(nil, `HostKey %[1]s/host_key
AuthorizedKeysFile %[1]s/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PidFile none
AcceptEnv GIT_PROTOCOL
`, dir))
	serveSSH(t, listener, filepath.Join(dir, "sshd_config"))
	return s
}

// serveSSH gives each connection an sshd of its own, as inetd would. So the port is open before
// sshd starts, and there is nothing to wait for.
func serveSSH(t testing.TB, listener net.Listener, config string) {
	t.Helper()
	if os.Geteuid() == 0 {
		// The directory to which root's sshd confines the process that unauthenticated clients
		// talk to.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() { serveSSHConn(ctx, t, conn.(*net.TCPConn), config) })
		}
	})
	t.Cleanup(func() {
		stop()
		_ = listener.Close()
		sessions.Wait()
	})
}

func serveSSHConn(ctx context.Context, t testing.TB, conn *net.TCPConn, config string) {
	defer conn.Close()
	socket, err := conn.File()
	if err != nil {
		t.Errorf("cannot hand a connection to sshd: %v", err)
		return
	}
	defer socket.Close()
	cmd := exec.CommandContext(ctx, "/usr/sbin/sshd", "-i", "-f", config)
	cmd.Stdin, cmd.Stdout = socket, socket
	// sshd's status says nothing: it is 255 for every client that leaves.
	_ = cmd.Run()
}

func newKey(t testing.TB) (privatePEM []byte, public ssh.PublicKey) {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	public, err = ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block), public
}

func write(t testing.TB, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
