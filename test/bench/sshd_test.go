package bench

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"pgo/test/rig"
)

// openSSH is an OpenSSH server with its own defaults, on the loopback address.
type openSSH struct {
	pid     int
	address string
	login   []string // the client's arguments to log in
}

// startOpenSSH starts a server that the key may log in to, as root.
func startOpenSSH(b *testing.B, r *rig.Rig, key *rig.Key) *openSSH {
	b.Helper()
	host, port := r.Key("openssh"), r.Port()
	write := func(name, content string) string {
		file := filepath.Join(r.Dir, "openssh-"+name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			b.Fatal(err)
		}
		return file
	}
	known := write("known_hosts", fmt.Sprintf("[127.0.0.1]:%d %s", port, host.Public))
	// With another home directory, root's shell does not read root's startup files.
	config := write("config", fmt.Sprintf(`ListenAddress 127.0.0.1:%d
HostKey %s
AuthorizedKeysFile %s
SetEnv HOME=%s
StrictModes no
PidFile none
`, port, host.File, write("authorized_keys", key.Public), r.Dir))
	// The directory that sshd confines its unprivileged part to.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		b.Fatal(err)
	}
	server := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", config)
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait() // its status is that of the signal
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	rig.Until(b, "sshd to listen", func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	return &openSSH{pid: server.Process.Pid, address: address, login: []string{
		"-F", "none", "-p", fmt.Sprint(port), "-i", key.File,
		"-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
		"-o", "UserKnownHostsFile=" + known, "-o", "GlobalKnownHostsFile=none",
		"root@127.0.0.1",
	}}
}

// command prepares the stock client to do the least there is.
func (o *openSSH) command(options ...string) *exec.Cmd {
	return exec.Command("ssh", slices.Concat(options, o.login, []string{"true"})...)
}

// run prepares the stock client to have root's shell run a command.
func (o *openSSH) run(command string) *exec.Cmd {
	return exec.Command("ssh", append(slices.Clone(o.login), command)...)
}
