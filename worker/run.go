package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pgo/internal/target"
	"pgo/proto"
	"pgo/worker/compose"
	"pgo/worker/deploy"
)

// call is one requested operation.
type call struct {
	ctx     context.Context // ends when the client leaves
	service *deploy.Service
	by      string // the client's login name, only for display
	args    target.Args
	out     compose.Output

	input    compose.Input     // for an operation that takes input
	terminal *compose.Terminal // likewise; nil: the client has none
}

// shown returns the function that passes an operation on to compose, with the deployed
// model.
func shown(name string) func(call) error {
	return func(c call) error {
		words := append([]string{name}, c.args.Words()...)
		if c.args.Text != "" {
			words = append(words, c.args.Text)
		}
		return c.service.Show(c.ctx, c.out, c.args.Services, words...)
	}
}

// readers are the operations that are answered at once, even during a change.
var readers = map[string]func(call) error{
	"ping": func(c call) error {
		host, err := os.Hostname()
		if err == nil {
			_, err = io.WriteString(c.out.Stdout, "pong! "+host+"\n")
		}
		return err
	},
	"ps":     shown("ps"),
	"logs":   shown("logs"),
	"top":    shown("top"),
	"images": shown("images"),
	"port":   shown("port"),
	"stats": func(c call) error {
		if !c.out.Color { // compose itself does not check who reads it
			c.out.Stdout = &plain{out: c.out.Stdout}
		}
		return shown("stats")(c)
	},
	"exec": func(c call) error {
		return c.service.Exec(c.ctx, c.args, c.terminal, c.input, c.out)
	},
	"history": func(c call) error { return c.service.History(c.args, c.out) },
	"watch":   func(c call) error { return c.service.Watch(c.ctx, c.out) },
	"git hash": func(c call) error {
		hash, err := c.service.Hash()
		if err == nil {
			_, err = io.WriteString(c.out.Stdout, hash.String()+"\n")
		}
		return err
	},
}

// changes are the operations that wait for their turn. Once begun they run to their end,
// even if the client leaves: half a deploy helps nobody.
var changes = map[string]func(context.Context, *deploy.Turn, call) error{
	"up":      func(ctx context.Context, t *deploy.Turn, c call) error { return t.Up(ctx, c.by, c.args, c.out) },
	"down":    func(ctx context.Context, t *deploy.Turn, c call) error { return t.Down(ctx, c.args, c.out) },
	"pull":    func(ctx context.Context, t *deploy.Turn, c call) error { return t.Pull(ctx, c.by, c.args, c.out) },
	"stop":    func(ctx context.Context, t *deploy.Turn, c call) error { return t.Stop(ctx, c.args, c.out) },
	"start":   func(ctx context.Context, t *deploy.Turn, c call) error { return t.Start(ctx, c.args, c.out) },
	"restart": func(ctx context.Context, t *deploy.Turn, c call) error { return t.Restart(ctx, c.args, c.out) },
	"check":   func(ctx context.Context, t *deploy.Turn, c call) error { return t.Check(ctx, c.out) },
	"load":    func(ctx context.Context, t *deploy.Turn, c call) error { return t.Check(ctx, c.out) },
	"diff":    func(ctx context.Context, t *deploy.Turn, c call) error { return t.Diff(ctx, c.out) },
	"rollback": func(ctx context.Context, t *deploy.Turn, c call) error {
		return t.Rollback(ctx, c.by, c.args.Text, c.out)
	},
	"freeze":   func(_ context.Context, t *deploy.Turn, c call) error { return t.Freeze(c.by, c.args.Text, c.out) },
	"unfreeze": func(_ context.Context, t *deploy.Turn, c call) error { return t.Unfreeze(c.out) },
	"build":    func(ctx context.Context, t *deploy.Turn, c call) error { return t.Build(ctx, c.args, c.out) },
	"git pull": func(ctx context.Context, t *deploy.Turn, c call) error { return t.GitPull(ctx, c.out) },
}

// errUnknown cannot occur as long as both ends are from one build: pgod has looked the
// operation up in the same table.
var errUnknown = errors.New("the worker does not know this operation")

// Run carries out one operation.
func (w *Worker) Run(stream grpc.BidiStreamingServer[proto.RunRequest, proto.RunReply]) error {
	request, err := stream.Recv()
	if err != nil {
		return err
	}
	start := request.GetStart()
	if start == nil {
		return status.Error(codes.InvalidArgument, "the first request is not start")
	}
	ctx, done, err := w.begin(stream.Context())
	if err != nil {
		return err
	}
	defer done()
	replies, in := &replies{stream: stream}, newInput()
	c := call{
		ctx:      ctx,
		service:  w.service.Load(),
		by:       start.GetUser(),
		out:      output(replies.send),
		input:    in.Input,
		terminal: terminal(start.GetTerminal()),
	}
	c.out.Color = start.GetColor()
	if operation, _ := target.Lookup(target.Service, start.GetOperation()); operation.Input {
		defer streaming()()
		go in.receive(stream)
		defer in.stop()
	}
	err = w.explained(w.carryOut(start, replies, c))
	if left := new(compose.LeftRunningError); errors.As(err, &left) || err != nil && ctx.Err() == nil && !errors.As(err, new(*compose.ExitError)) {
		w.log.Warn("operation ended with an error", "operation", start.GetOperation(), "user", start.GetUser(), "error", err)
	}
	return replies.exit(exitOf(err))
}

// begin begins an operation that runs as long as its client and this worker are there. The
// operation ends with done, for which Close waits: what runs in containers has to be told.
func (w *Worker) begin(client context.Context) (ctx context.Context, done func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() != nil {
		return nil, nil, status.Error(codes.Unavailable, errStopping.Error())
	}
	w.operations.Add(1)
	ctx, cancel := context.WithCancelCause(client)
	stop := context.AfterFunc(w.ctx, func() { cancel(errStopping) })
	return ctx, func() {
		stop()
		cancel(nil)
		w.operations.Done()
	}, nil
}

// errStopping is why an operation that only reads, or runs a program, ends with the worker.
var errStopping = errors.New("the worker was stopped; a new one is being started")

func (w *Worker) carryOut(start *proto.Start, replies *replies, c call) error {
	if c.service == nil {
		report, _ := w.board.get()
		return errors.New(report.GetState().GetError())
	}
	name := start.GetOperation()
	operation, ok := target.Lookup(target.Service, name)
	if !ok || operation.OperatorOnly && !start.GetOperator() {
		return errUnknown
	}
	var err error
	if c.args, err = operation.ParseArgs(start.GetArgs(), start.GetOperator()); err != nil {
		return err
	}
	if read, ok := readers[name]; ok {
		pieces := newPieces(replies.send)
		defer pieces.close()
		color := c.out.Color
		c.out = pieces.output()
		c.out.Color = color
		return read(c)
	}
	change, ok := changes[name]
	if !ok {
		return errUnknown
	}
	return w.carryOutChange(name, change, replies, c)
}

// explained adds to the error that there is nothing yet why that is so, unless it says that: it may
// be a fault that waiting does not mend, such as a branch that does not exist.
func (w *Worker) explained(err error) error {
	report, _ := w.board.get()
	why := report.GetState().GetError()
	if why == "" || err != deploy.ErrNothingFetched && err != deploy.ErrNothingDeployed {
		return err // one that wraps these says why
	}
	return fmt.Errorf("%w: %s", err, why)
}

// carryOutChange makes the client wait for the change, but not the change for the client.
func (w *Worker) carryOutChange(name string, change func(context.Context, *deploy.Turn, call) error, replies *replies, c call) error {
	relay := newRelay(replies.send, relayPatience)
	var mu sync.Mutex // two goroutines write standard output and standard error
	c.out = output(func(piece *proto.RunReply) error {
		mu.Lock()
		defer mu.Unlock()
		relay.send(piece)
		return nil
	})
	waiting := func(running string) {
		_, _ = io.WriteString(c.out.Stderr, "waiting for "+running+" to end\n")
	}
	err := c.service.Do(c.ctx, name+" by "+c.by, waiting, func(t *deploy.Turn) error { return change(w.ctx, t, c) })
	if relay.close() {
		_ = replies.send(toStderr([]byte("pgo: some of the output was dropped, since nobody read it\n")))
	}
	return err
}

// exitOf returns what an error means for the client: a program's own status, without a
// message since its output was seen, or pgo's status with a message.
func exitOf(err error) *proto.Exit {
	if err == nil {
		return &proto.Exit{}
	}
	message := err.Error()
	for _, line := range deploy.Details(err) {
		message += "\n  " + line
	}
	exit := &proto.Exit{Status: target.StatusFailed, Message: text(message)}
	var program *compose.ExitError
	var killed *compose.KilledError
	switch {
	case errors.As(err, new(*deploy.RefusedError)):
		exit.Status = target.StatusRefused
	case errors.As(err, new(*target.UsageError)):
		exit.Status = target.StatusUsage
	case errors.As(err, new(*deploy.NoCommitError)):
		exit.Status = target.StatusNotFound
	case errors.As(err, new(*deploy.DamagedStateError)):
		exit.Status = target.StatusFault
	case errors.Is(err, deploy.ErrDraining), errors.Is(err, deploy.ErrIsDown), errors.Is(err, deploy.ErrNothingDeployed),
		errors.Is(err, deploy.ErrNothingFetched), errors.As(err, new(*deploy.FrozenError)):
		exit.Status = target.StatusConflict
	case errors.As(err, &program):
		exit.Status = uint32(program.Status)
		if !deploy.SaysMore(err) {
			exit.Message = ""
		}
	case errors.Is(err, errStopping):
		exit.Status = target.StatusUnavailable
	case errors.As(err, &killed):
		exit.Signal = killed.Signal()
	case errors.Is(err, context.DeadlineExceeded):
		exit.Status = target.StatusDeadline
	}
	return exit
}

// replies sends the output of an operation. gRPC allows one sender at a time.
type replies struct {
	mu     sync.Mutex
	stream grpc.BidiStreamingServer[proto.RunRequest, proto.RunReply]
}

func (r *replies) send(reply *proto.RunReply) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stream.Send(reply)
}

func (r *replies) exit(exit *proto.Exit) error {
	return r.send(&proto.RunReply{Message: &proto.RunReply_Exit{Exit: exit}})
}

// output returns an output that sends pieces to a client.
func output(send func(*proto.RunReply) error) compose.Output {
	writer := func(wrap func([]byte) *proto.RunReply) io.Writer {
		return writerFunc(func(b []byte) (int, error) {
			// The caller reuses its buffer, and the piece may wait.
			if err := send(wrap(bytes.Clone(b))); err != nil {
				return 0, err
			}
			return len(b), nil
		})
	}
	return compose.Output{Stdout: writer(toStdout), Stderr: writer(toStderr)}
}

func toStdout(b []byte) *proto.RunReply {
	return &proto.RunReply{Message: &proto.RunReply_Stdout{Stdout: b}}
}

func toStderr(b []byte) *proto.RunReply {
	return &proto.RunReply{Message: &proto.RunReply_Stderr{Stderr: b}}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
