package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pgo/internal/printable"
	"pgo/internal/sshd"
	"pgo/internal/target"
	"pgo/proto"
)

// forward has the worker carry out the command. Output and input are passed on as they come: a
// slow reader slows the other end, and nobody else.
func (i *instance) forward(ctx context.Context, session sshd.Command, operator bool) sshd.Exit {
	v := i.view.started(ctx)
	if v.state != ready && v.state != draining {
		return unavailable(i)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := v.process.rpc.Run(ctx)
	if err != nil {
		return i.broken(ctx, err)
	}
	defer v.process.meter.outlet()()
	requests := &requests{stream: stream}
	if err := requests.send(&proto.RunRequest{Message: &proto.RunRequest_Start{Start: start(session, operator)}}); err != nil {
		return i.broken(ctx, err)
	}
	if session.Stdin != nil {
		go requests.copy(session.Stdin, cancel)
		go requests.follow(ctx, session)
	}
	for {
		reply, err := stream.Recv()
		if err != nil {
			return i.broken(ctx, err)
		}
		switch m := reply.GetMessage().(type) {
		case *proto.RunReply_Stdout:
			_, err = session.Stdout.Write(m.Stdout)
			v.process.meter.passed(len(m.Stdout))
		case *proto.RunReply_Stderr:
			_, err = session.Stderr.Write(m.Stderr)
			v.process.meter.passed(len(m.Stderr))
		case *proto.RunReply_Exit:
			return exitOf(m.Exit)
		}
		if err != nil {
			return clientLeft
		}
	}
}

// clientLeft is the exit of a command whose client has disconnected, for the log.
var clientLeft = sshd.Exit{Status: target.StatusFault, Message: "the client disconnected; a change that has begun keeps running"}

// maxStatus is the highest exit status of a program.
const maxStatus = 255

// workerStatuses are pgo's own statuses that a worker may end a command with.
var workerStatuses = []int{
	target.StatusUsage, target.StatusRefused, target.StatusNotFound, target.StatusConflict,
	target.StatusFault, target.StatusFailed, target.StatusUnavailable, target.StatusDeadline,
}

func start(session sshd.Command, operator bool) *proto.Start {
	s := &proto.Start{
		Operation: session.Command.Operation,
		Args:      session.Command.Args,
		User:      printable.Line(session.Identity.User),
		Operator:  operator,
		Color:     session.Color,
	}
	if t := session.Terminal; t != nil {
		s.Terminal = &proto.Terminal{Type: t.Type, Window: windowOf(t)}
	}
	return s
}

func windowOf(t *sshd.Terminal) *proto.Window {
	w := t.Window()
	return &proto.Window{Columns: w.Columns, Rows: w.Rows}
}

// exitOf converts the exit that a worker reports. Authorization is not a worker's decision, so
// that status becomes a fault, as does one that no table has.
func exitOf(e *proto.Exit) sshd.Exit {
	exit := sshd.Exit{Status: e.GetStatus(), Message: printable.Text(e.GetMessage())}
	if exit.Status > maxStatus && !slices.Contains(workerStatuses, int(exit.Status)) {
		exit = sshd.Exit{Status: target.StatusFault, Message: fmt.Sprintf("the worker ended the command with the invalid status %d", e.GetStatus())}
	}
	if sshd.IsSignal(e.GetSignal()) {
		exit.Signal = e.GetSignal()
	}
	return exit
}

// requests sends the client's messages to the worker: gRPC allows one sender at a time.
type requests struct {
	mu     sync.Mutex
	stream proto.Worker_RunClient
}

func (r *requests) send(request *proto.RunRequest) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stream.Send(request)
}

// inputPiece is how much of a client's input is passed on at a time.
const inputPiece = 128 << 10

// copy passes on a client's input until its end, which it reports, or until the command ends.
// Losing the client does not count as the end of its input.
func (r *requests) copy(stdin io.Reader, lost func()) {
	buf := make([]byte, inputPiece)
	for {
		n, err := stdin.Read(buf)
		if n > 0 && r.sendInput(buf[:n]) != nil {
			// Nobody reads it any more; but the client must not block on sending it.
			_, _ = io.Copy(io.Discard, stdin)
			return
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = r.sendInput(nil)
			return
		case err != nil:
			lost()
			return
		}
	}
}

func (r *requests) sendInput(piece []byte) error {
	return r.send(&proto.RunRequest{Message: &proto.RunRequest_Stdin{Stdin: piece}})
}

// follow passes on the client's window changes and signals until ctx ends.
func (r *requests) follow(ctx context.Context, session sshd.Command) {
	var resized <-chan struct{}
	if session.Terminal != nil {
		resized = session.Terminal.Resized()
	}
	for {
		var request *proto.RunRequest
		select {
		case <-resized:
			request = &proto.RunRequest{Message: &proto.RunRequest_Resize{Resize: windowOf(session.Terminal)}}
		case signal := <-session.Signals:
			request = &proto.RunRequest{Message: &proto.RunRequest_Signal{Signal: signal}}
		case <-ctx.Done():
			return
		}
		if r.send(request) != nil {
			return
		}
	}
}

// lost reports whether a call that nobody cancelled failed because the worker has ended. That
// closes the worker's connection, which cancels the calls still on it.
func lost(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.Canceled || errors.Is(err, io.EOF)
}

// broken is the exit of a command that its worker did not complete.
func (i *instance) broken(ctx context.Context, err error) sshd.Exit {
	switch {
	case ctx.Err() != nil:
		return clientLeft
	case lost(err):
		return sshd.Exit{
			Status:  target.StatusUnavailable,
			Message: fmt.Sprintf("the worker of %s ended before the command did: try again in a moment", i.service.Name),
		}
	default:
		return sshd.Exit{Status: target.StatusFault, Message: printable.Text(err.Error())}
	}
}
