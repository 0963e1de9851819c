package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"pgo/internal/procgroup"
)

// pipeGrace is how long pgod keeps reading a worker's output after the worker has ended.
const pipeGrace = time.Second

// workerPath is where a worker looks for programs.
const workerPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// runner starts a worker for go-plugin: as the service's user, in its own process group, with an
// environment from scratch. It implements go-plugin's runner.Runner.
type runner struct {
	path    string // of pgo-worker
	account account
	socket  string // the directory that go-plugin made for the worker's socket
	env     []string
	stderr  func(context.Context, io.Reader) // reads the worker's standard error to its end; the context ends with the worker

	stdout *os.File // the read end

	mu      sync.Mutex
	group   *procgroup.Group // nil until started
	aborted bool             // do not start any more
}

// Start hands the socket's directory to the service's user and starts the
// worker.
func (r *runner) Start(context.Context) error {
	if err := os.Chown(r.socket, int(r.account.uid), int(r.account.gid)); err != nil {
		return fmt.Errorf("cannot hand over the socket's directory: %w", err)
	}
	stdout, stdoutWriter, err := os.Pipe()
	if err != nil {
		return err
	}
	stderr, stderrWriter, err := os.Pipe()
	if err != nil {
		_ = stdout.Close()
		_ = stdoutWriter.Close()
		return err
	}
	cmd := exec.Command(r.path)
	cmd.Dir = "/"
	// The worker wants one thread for itself, and to say so later would stop it once more.
	cmd.Env = append(r.env, workerPath, "GOMAXPROCS=1")
	cmd.Stdout, cmd.Stderr = stdoutWriter, stderrWriter
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{
		Uid: r.account.uid, Gid: r.account.gid, Groups: r.account.groups,
	}}
	err = r.begin(cmd)
	_ = stdoutWriter.Close()
	_ = stderrWriter.Close()
	if err != nil {
		_ = stdout.Close()
		_ = stderr.Close()
		return fmt.Errorf("cannot start the worker: %w", err)
	}
	r.stdout = stdout
	lives, ended := context.WithCancel(context.Background())
	go func() {
		r.stderr(lives, stderr)
		_ = stderr.Close()
	}()
	go func() {
		<-r.group.Done()
		ended()
		// What is in the pipes may still be read. A descendant that left the group may keep them
		// open for as long as it likes.
		end := time.Now().Add(pipeGrace)
		_ = stdout.SetReadDeadline(end)
		_ = stderr.SetReadDeadline(end)
	}()
	return nil
}

func (r *runner) begin(cmd *exec.Cmd) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.aborted {
		return errors.New("it is not wanted any more")
	}
	var err error
	r.group, err = procgroup.Start(cmd)
	return err
}

// abort kills the worker, or prevents its start.
func (r *runner) abort() {
	r.mu.Lock()
	r.aborted = true
	group := r.group
	r.mu.Unlock()
	if group != nil {
		group.Signal(syscall.SIGKILL)
	}
}

// whenGone calls f when the worker has ended, or at once if it was not started.
func (r *runner) whenGone(f func()) {
	r.mu.Lock()
	group := r.group
	r.mu.Unlock()
	if group == nil {
		f()
		return
	}
	go func() {
		<-group.Done()
		f()
	}()
}

// Stdout is read by go-plugin, which expects the handshake there.
func (r *runner) Stdout() io.ReadCloser { return r.stdout }

// Stderr is empty for go-plugin. It would parse what a worker writes there, and
// panic in this process on a line that is JSON but not a log line.
func (r *runner) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Wait waits for the worker's end.
func (r *runner) Wait(ctx context.Context) error {
	select {
	case <-r.group.Done():
		return r.group.Wait()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kill kills the worker's group.
func (r *runner) Kill(context.Context) error {
	r.abort()
	return nil
}

// Diagnose adds nothing to go-plugin's own message.
func (r *runner) Diagnose(context.Context) string { return "" }

// Name is the worker's path.
func (r *runner) Name() string { return r.path }

// ID is the worker's pid, empty before the start.
func (r *runner) ID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.group == nil {
		return ""
	}
	return strconv.Itoa(r.group.Pid())
}

// PluginToHost checks the address that the worker announced: it accepts only a Unix socket in the
// directory that was made for it.
func (r *runner) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(address) != r.socket || address != filepath.Clean(address) {
		return "", "", errors.New("the worker announced an address outside its own directory")
	}
	return network, address, nil
}

// HostToPlugin would serve callbacks from the worker; there are none.
func (r *runner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
