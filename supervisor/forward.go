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

// forward has the worker carry out the command. Output goes on as it comes, and
// input likewise: whichever end reads slowly slows the other one, and nobody else.
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
		case *proto.RunReply_Stderr:
			_, err = session.Stderr.Write(m.Stderr)
		case *proto.RunReply_Exit:
			return exitOf(m.Exit)
		}
		if err != nil {
			return clientLeft
		}
	}
}

// clientLeft is the exit of a command whose client is gone, for the log.
var clientLeft = sshd.Exit{Status: target.StatusFault, Message: "the client left; a change that has begun runs on"}

// maxStatus is the highest that a program can end with.
const maxStatus = 255

// workerStatuses are those of pgo's own that a worker may end a command with.
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

// exitOf is how a worker says that a command ended. Whose key may what is not for a
// worker to say, and neither is what no table has.
func exitOf(e *proto.Exit) sshd.Exit {
	exit := sshd.Exit{Status: e.GetStatus(), Message: printable.Text(e.GetMessage())}
	if exit.Status > maxStatus && !slices.Contains(workerStatuses, int(exit.Status)) {
		exit = sshd.Exit{Status: target.StatusFault, Message: fmt.Sprintf("the worker ended the command with status %d, which there is not", e.GetStatus())}
	}
	if sshd.IsSignal(e.GetSignal()) {
		exit.Signal = e.GetSignal()
	}
	return exit
}

// requests sends what the client sends: gRPC wants one sender at a time.
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

// copy passes on a client's input to its end, which is told, or to that of the
// command. A client that is lost has not come to an end.
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

// follow passes on what happens to a client's terminal, and its signals, until ctx
// ends.
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

// lost tells whether a call that nobody has cancelled failed since the worker has ended. The
// connection to one that has is closed, and what is still on it cancelled by that.
func lost(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.Canceled || errors.Is(err, io.EOF)
}

// broken is the exit of a command whose worker did not bring it to an end.
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
