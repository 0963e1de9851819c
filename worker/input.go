package worker

import (
	"context"
	"io"
	"runtime/debug"
	"sync"

	"google.golang.org/grpc"

	"pgo/proto"
	"pgo/worker/compose"
)

// input is what the client sends while its operation runs.
type input struct {
	compose.Input

	reader  *io.PipeReader
	stdin   *io.PipeWriter
	resized chan compose.Window
	signals chan string
}

func newInput() *input {
	reader, writer := io.Pipe()
	in := &input{reader: reader, stdin: writer, resized: make(chan compose.Window, 1), signals: make(chan string)}
	in.Input = compose.Input{Stdin: reader, Resized: in.resized, Signals: in.signals}
	return in
}

// The garbage collector's target percentage: while idle, when memory matters, and while a
// client sends, which produces a lot of garbage.
const (
	IdleGC   = 25
	streamGC = 200
)

var (
	streamsMu sync.Mutex
	streams   int // the number that run
)

// streaming makes the garbage collector run less often until done is called.
func streaming() (done func()) {
	count := func(change int) {
		streamsMu.Lock()
		defer streamsMu.Unlock()
		switch before := streams; {
		case before == 0:
			debug.SetGCPercent(streamGC)
		case before+change == 0:
			debug.SetGCPercent(IdleGC)
		}
		streams += change
	}
	count(1)
	return func() { count(-1) }
}

// stop keeps receive from passing on anything more.
func (in *input) stop() { _ = in.reader.Close() }

// receive passes on input as fast as it is read: a program that reads slowly slows its
// client down. It returns when the client has left or the operation has ended.
func (in *input) receive(stream grpc.BidiStreamingServer[proto.RunRequest, proto.RunReply]) {
	for {
		request, err := stream.Recv()
		if err != nil {
			_ = in.stdin.CloseWithError(err)
			return
		}
		in.take(stream.Context(), request)
	}
}

func (in *input) take(ctx context.Context, request *proto.RunRequest) {
	switch m := request.GetMessage().(type) {
	case *proto.RunRequest_Stdin:
		if len(m.Stdin) == 0 {
			_ = in.stdin.Close()
			return
		}
		_, _ = in.stdin.Write(m.Stdin) // fails if nobody reads it any more
	case *proto.RunRequest_Resize:
		select { // only the last size matters
		case <-in.resized:
		default:
		}
		in.resized <- window(m.Resize)
	case *proto.RunRequest_Signal:
		select {
		case in.signals <- m.Signal:
		case <-ctx.Done():
		}
	}
}

func window(w *proto.Window) compose.Window {
	return compose.Window{Columns: uint(w.GetColumns()), Rows: uint(w.GetRows())}
}

// terminal returns the client's terminal, or nil if it has none.
func terminal(t *proto.Terminal) *compose.Terminal {
	if t == nil {
		return nil
	}
	return &compose.Terminal{Type: t.GetType(), Window: window(t.GetWindow())}
}
