package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"pgo/internal/nearest"
	"pgo/internal/wait"
)

const numberLabel = "com.docker.compose.container-number"

// Command is a program to run in one of a compose service's containers.
type Command struct {
	Service  string // the compose service
	Index    int    // which of its containers, from 1; 0: the first that runs
	Words    []string
	User     string // empty: the container's own
	Dir      string // empty: the container's own
	Env      []string
	Terminal *Terminal // nil: no terminal, and stdout and stderr stay apart
	Kill     bool      // when the context ends: also ends a program that does not heed SIGHUP
}

// Terminal is the terminal that a program gets.
type Terminal struct {
	Type   string // TERM
	Window Window
}

// Window is the size of a terminal, in characters.
type Window struct{ Columns, Rows uint }

// Input is what comes from whoever runs a program.
type Input struct {
	Stdin   io.Reader // its end is the program's end of file
	Resized <-chan Window
	Signals <-chan string // INT, TERM, …
}

// inputBuffer is how much of a program's input is passed on at a time.
const inputBuffer = 128 << 10

// endOfFile is the byte that Ctrl-D sends.
const endOfFile = 0x04

// execution is a program that runs in a container.
type execution struct {
	client    *client.Client
	container string
	user      string
	id        string
	terminal  bool
}

// Exec runs a program and returns its status. When ctx ends, the program gets SIGHUP, as if its
// terminal had been closed, and the error is ctx's cause. With Kill it is killed if that does not
// end it.
func (e *Engine) Exec(ctx context.Context, project string, command Command, in Input, out Output) (int, error) {
	x, err := e.prepare(ctx, project, command, true)
	if err != nil {
		return 0, err
	}
	stream, err := x.attach(ctx)
	if err != nil {
		return 0, fmt.Errorf("cannot run %s: %w", command.Words[0], err)
	}
	defer stream.Close()
	running, ended := context.WithCancel(ctx)
	defer ended()
	if command.Terminal != nil {
		go x.follow(running, command.Terminal.Window, in.Resized)
	}
	go x.pass(running, in.Signals)
	go x.copyInput(stream, in.Stdin)
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		err = x.copyOutput(stream, out)
	}()
	select {
	case <-copied:
		if err == nil {
			status, err := x.ended(ctx)
			if ctx.Err() == nil {
				return status, err
			}
		}
	case <-ctx.Done():
	}
	// The program's input stays open until it has been hung up on: an end of file would say that
	// what it has read so far is all.
	left := x.hangUp(ctx, copied)
	if command.Kill && left == nil {
		left = x.kill(ctx)
	}
	stream.Close()
	<-copied
	return 0, errors.Join(context.Cause(ctx), err, left)
}

// attach starts the program. A client that leaves meanwhile does not interrupt that: the engine
// may have begun, and what it has begun has to be hung up on.
func (x *execution) attach(ctx context.Context) (client.HijackedResponse, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hangUpTimeout)
	defer cancel()
	attached, err := x.client.ExecAttach(ctx, x.id, client.ExecAttachOptions{TTY: x.terminal})
	return attached.HijackedResponse, err
}

// copyInput passes on a program's input and its end; a lost client is not an end. It drops what
// comes when the program no longer reads: a signal may follow.
func (x *execution) copyInput(stream client.HijackedResponse, stdin io.Reader) {
	// Without the wrapper the connection would bring a smaller buffer of its own.
	_, err := io.CopyBuffer(struct{ io.Writer }{stream.Conn}, stdin, make([]byte, inputBuffer))
	switch {
	case err != nil:
	case x.terminal:
		// The engine would close the program's output as well. On a terminal the end of input is
		// a key.
		_, _ = stream.Conn.Write([]byte{endOfFile})
	default:
		_ = stream.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, stdin)
}

// ExecDetached starts a program that nobody waits for.
func (e *Engine) ExecDetached(ctx context.Context, project string, command Command) error {
	x, err := e.prepare(ctx, project, command, false)
	if err != nil {
		return err
	}
	if _, err := x.client.ExecStart(ctx, x.id, client.ExecStartOptions{Detach: true}); err != nil {
		return fmt.Errorf("cannot run %s: %w", command.Words[0], err)
	}
	return nil
}

// prepare has the engine make everything ready to run the program.
func (e *Engine) prepare(ctx context.Context, project string, command Command, attached bool) (*execution, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	id, err := find(ctx, c, project, command.Service, command.Index)
	if err != nil {
		return nil, err
	}
	options := client.ExecCreateOptions{
		User: command.User, WorkingDir: command.Dir, Env: command.Env, Cmd: command.Words,
		TTY: command.Terminal != nil, AttachStdin: attached, AttachStdout: attached, AttachStderr: attached,
	}
	if t := command.Terminal; t != nil {
		options.Env = slices.Insert(slices.Clone(options.Env), 0, "TERM="+t.Type) // a given TERM comes after it
	}
	created, err := c.ExecCreate(ctx, id, options)
	if err != nil {
		return nil, fmt.Errorf("cannot run %s: %w", command.Words[0], err)
	}
	return &execution{client: c.Client, container: id, user: command.User, id: created.ID, terminal: options.TTY}, nil
}

// NoContainerError says that a program has no container to run in.
type NoContainerError struct{ Text string }

func (e *NoContainerError) Error() string { return e.Text }

// find returns the ID of the container to run a program in.
func find(ctx context.Context, c *connection, project, service string, index int) (string, error) {
	filter := ofProject(project)
	if index > 0 {
		filter.Add("label", numberLabel+"="+strconv.Itoa(index))
	}
	all, err := c.containers(ctx, false, filter)
	if err != nil {
		return "", err
	}
	slices.SortFunc(all, func(a, b container.Summary) int { return number(a) - number(b) })
	var others []string
	for _, summary := range all {
		name := summary.Labels[serviceLabel]
		if name == service {
			return summary.ID, nil
		}
		others = append(others, name)
	}
	text := fmt.Sprintf("service %q is not running", service)
	if index > 0 {
		text = fmt.Sprintf("service %q has no running container %d", service, index)
	}
	if near, ok := nearest.Word(service, others); ok {
		text += fmt.Sprintf("; did you mean %s?", near)
	}
	return "", &NoContainerError{text}
}

// Running returns the numbers of a compose service's containers that run, or are paused and will
// continue as they were.
func (e *Engine) Running(ctx context.Context, project, service string) ([]int, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	filter := ofProject(project)
	filter.Add("label", serviceLabel+"="+service).Add("status", "running", "paused")
	all, err := c.containers(ctx, false, filter)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, summary := range all {
		numbers = append(numbers, number(summary))
	}
	slices.Sort(numbers)
	return numbers, nil
}

func number(s container.Summary) int {
	n, _ := strconv.Atoi(s.Labels[numberLabel])
	return n
}

func (x *execution) copyOutput(stream client.HijackedResponse, out Output) error {
	if x.terminal {
		_, err := io.Copy(out.Stdout, stream.Reader)
		return err
	}
	_, err := stdcopy.StdCopy(out.Stdout, out.Stderr, stream.Reader)
	return err
}

// follow gives the program's terminal the size of the client's. The engine takes a size only once
// the program has started, and does not report when that is.
func (x *execution) follow(ctx context.Context, w Window, resized <-chan Window) {
	for {
		size := client.ExecResizeOptions{Width: w.Columns, Height: w.Rows}
		if size.Width > 0 && size.Height > 0 {
			retry(ctx, func() bool { _, err := x.client.ExecResize(ctx, x.id, size); return err == nil })
		}
		select {
		case w = <-resized:
		case <-ctx.Done():
			return
		}
	}
}

// Pauses between two looks at what the engine does not report by itself.
const (
	firstPause   = 10 * time.Millisecond
	longestPause = 500 * time.Millisecond
)

// retry calls f until it returns true, or ctx ends.
func retry(ctx context.Context, f func() bool) {
	for pause := firstPause; !f(); pause = min(2*pause, longestPause) {
		if wait.For(ctx, pause) != nil {
			return
		}
	}
}

// ended waits for the program's end, which may come after the end of its output, and returns its
// status.
func (x *execution) ended(ctx context.Context) (int, error) {
	var inspect client.ExecInspectResult
	var err error
	retry(ctx, func() bool {
		inspect, err = x.client.ExecInspect(ctx, x.id, client.ExecInspectOptions{})
		return err != nil || !inspect.Running
	})
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case errdefs.IsNotFound(err):
		return 0, errors.New("the engine no longer knows the program: it, or the container, was ended")
	case err != nil:
		return 0, fmt.Errorf("cannot tell how the program ended: %w", err)
	}
	return inspect.ExitCode, nil
}

// ofProject selects a project's containers, without those of `compose run`.
func ofProject(project string) client.Filters {
	return client.Filters{}.Add("label", projectLabel+"="+project, oneoffLabel+"=False")
}
