package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// hangUpTimeout bounds how long it may take to end a program that was left alone. A busy engine
// takes seconds to start the program that does it.
const hangUpTimeout = time.Minute

// LeftRunningError says that a program may keep running in its container after its client has
// left.
type LeftRunningError struct{ err error }

func (e *LeftRunningError) Error() string {
	return "the program may still be running in the container: " + e.err.Error()
}
func (e *LeftRunningError) Unwrap() error { return e.err }

// hangUp tells the program that its client has left. The engine does not: it would let the
// program run for ever. hangUp waits for a program that is still being started; one whose output
// has ended has started.
func (x *execution) hangUp(ctx context.Context, copied <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hangUpTimeout)
	defer cancel()
	var err error
	retry(ctx, func() bool {
		var inspect client.ExecInspectResult
		if inspect, err = x.client.ExecInspect(ctx, x.id, client.ExecInspectOptions{}); err != nil || inspect.PID != 0 {
			return true
		}
		select {
		case <-copied:
			return true
		default:
			return false
		}
	})
	if err == nil {
		err = x.signal(ctx, "HUP")
	}
	return gone(err)
}

// hangUpGrace is how long a program that will be killed may take to end by itself.
const hangUpGrace = 2 * time.Second

// kill ends a program that was hung up on, if it still runs.
func (x *execution) kill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hangUpTimeout)
	defer cancel()
	grace, over := context.WithTimeout(ctx, hangUpGrace)
	defer over()
	if _, err := x.ended(grace); err == nil {
		return nil
	}
	return gone(x.signal(ctx, "KILL"))
}

// gone wraps an error after which a program may keep running.
func gone(err error) error {
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	return &LeftRunningError{err}
}

// pass sends the program the signals that the client passes on.
func (x *execution) pass(ctx context.Context, signals <-chan string) {
	for {
		select {
		case name := <-signals:
			// The program's output can be here before the engine knows that it runs.
			retry(ctx, func() bool {
				inspect, err := x.client.ExecInspect(ctx, x.id, client.ExecInspectOptions{})
				return err != nil || inspect.PID != 0
			})
			_ = x.signal(ctx, name) // nobody waits for the result
		case <-ctx.Done():
			return
		}
	}
}

// signal sends a signal to the program and what it has started. The engine cannot, and the worker
// is not the program's user: it takes another program, run as that user in the same container.
func (x *execution) signal(ctx context.Context, name string) error {
	if !isSignal(name) {
		return fmt.Errorf("%q is not a signal", name)
	}
	inspect, err := x.client.ExecInspect(ctx, x.id, client.ExecInspectOptions{})
	if err != nil || !inspect.Running {
		return err
	}
	target, err := x.insidePid(ctx, inspect.PID)
	if err != nil {
		if again, failed := x.client.ExecInspect(ctx, x.id, client.ExecInspectOptions{}); failed == nil && !again.Running {
			return nil // it has ended meanwhile
		}
		return err
	}
	for _, words := range [][]string{
		{"kill", "-" + name, target},
		{"sh", "-c", "kill -" + name + " " + target},
	} {
		if err = x.beside(ctx, words); err == nil {
			return nil
		}
	}
	return err
}

func (x *execution) beside(ctx context.Context, words []string) error {
	created, err := x.client.ExecCreate(ctx, x.container, client.ExecCreateOptions{
		User: x.user, Cmd: words, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return err
	}
	stream, err := x.client.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, stream.Close)
	defer stop()
	defer stream.Close()
	_, _ = io.Copy(io.Discard, stream.Reader)
	status, err := (&execution{client: x.client, id: created.ID}).ended(ctx)
	if err == nil && status != 0 {
		err = fmt.Errorf("%s in the container ended with status %d", words[0], status)
	}
	return err
}

// isSignal reports whether a name needs no quoting.
func isSignal(name string) bool {
	return name != "" && len(name) <= 8 && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

// insidePid returns the ID of a process inside its container, as kill takes it: its whole group
// if it leads one. It checks that the process belongs to the container: an engine may count
// processes differently from this host.
func (x *execution) insidePid(ctx context.Context, pid int) (string, error) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	groups, err := os.ReadFile(proc + "cgroup")
	if err != nil {
		return "", err
	}
	if !strings.Contains(string(groups), x.container) {
		// A rootless engine without cgroup v2 gives containers no control group of their own.
		c, err := x.client.ContainerInspect(ctx, x.container, client.ContainerInspectOptions{})
		if err != nil {
			return "", err
		}
		if state := c.Container.State; state == nil || !besides(pid, state.Pid) {
			return "", errors.New("the engine counts processes differently from this host")
		}
	}
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return "", err
	}
	inside, group := lastField(status, "NSpid:"), lastField(status, "NSpgid:")
	switch {
	case inside == "":
		return "", errors.New("the kernel does not report the ID that the process has in its container")
	case inside == group:
		return "-" + inside, nil
	default:
		return inside, nil
	}
}

// besides reports whether two processes see the same files, which are not those of this process: so
// do those of one container. Whoever runs a rootless engine may see that of all its containers.
func besides(pid, other int) bool {
	files := func(proc string) string {
		files, _ := os.Readlink("/proc/" + proc + "/ns/mnt") // it may be another user's
		return files
	}
	these := files(strconv.Itoa(pid))
	return these != "" && these == files(strconv.Itoa(other)) && these != files("self")
}

// lastField returns the number for the innermost namespace in a line of /proc/PID/status; empty:
// there is none.
func lastField(status []byte, name string) string {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			fields := strings.Fields(rest)
			if len(fields) > 0 {
				if _, err := strconv.Atoi(fields[len(fields)-1]); err == nil {
					return fields[len(fields)-1]
				}
			}
		}
	}
	return ""
}
