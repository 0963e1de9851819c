// Package procgroup runs a child process that leads a process group of its own
// and does not outlive its parent. It must not know which program that is.
package procgroup

import (
	"errors"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"pgo/internal/wait"

	"golang.org/x/sys/unix"
)

// outputGrace bounds how long Wait reads on for output after the group is dead:
// a descendant that left the group may hold the pipes open for ever.
const outputGrace = 5 * time.Second

// Group is a running child and everything it started that stayed in its
// process group. When the child ends, what is left of the group is killed.
type Group struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // set before done is closed

	mu     sync.Mutex
	reaped bool // the pid may belong to somebody else from now on
}

// Start starts cmd as the leader of a new process group. The kernel kills it
// with SIGKILL when this process ends, however it ends. Other attributes that
// the caller put into cmd.SysProcAttr are kept.
func Start(cmd *exec.Cmd) (*Group, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.WaitDelay = outputGrace

	g := &Group{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The parent-death signal follows the thread that forked, not the
		// process: keep that thread for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			g.reap()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return g, nil
}

// reap waits for the child and kills the rest of its group while the child,
// still unreaped, keeps the group's number from being given out again.
func (g *Group) reap() {
	for {
		err := unix.Waitid(unix.P_PID, g.Pid(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	g.mu.Lock()
	_ = unix.Kill(-g.Pid(), unix.SIGKILL)
	g.reaped = true
	g.mu.Unlock()
	g.err = g.cmd.Wait()
	close(g.done)
}

// Pid returns the child's process id, which is its group's too.
func (g *Group) Pid() int { return g.cmd.Process.Pid }

// Done is closed when the child has ended and its output was read.
func (g *Group) Done() <-chan struct{} { return g.done }

// Wait waits for Done and returns what exec.Cmd.Wait does.
func (g *Group) Wait() error {
	<-g.done
	return g.err
}

// Signal sends sig to the whole group; after the child's end it does nothing.
func (g *Group) Signal(sig syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.reaped {
		_ = unix.Kill(-g.Pid(), sig)
	}
}

// Stop asks the group to end with SIGTERM, kills it when it has not ended
// after grace, and returns when it is gone.
func (g *Group) Stop(grace time.Duration) {
	g.Signal(syscall.SIGTERM)
	if !wait.Until(g.done, grace) {
		g.Signal(syscall.SIGKILL)
		<-g.done
	}
}
