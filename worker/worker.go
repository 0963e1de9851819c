// Package worker does everything for one service: it is the gRPC server that pgod talks to,
// and behind it one queue of changes and the readers next to that queue.
package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/version"
	"pgo/proto"
	"pgo/worker/deploy"
)

// Worker implements proto.WorkerServer for the one service that Configure
// gives it.
type Worker struct {
	proto.UnimplementedWorkerServer

	ctx    context.Context // ends with the worker
	cancel context.CancelFunc
	log    hclog.Logger
	queue  *deploy.Queue
	board  *board
	meter  *meter

	once       sync.Once
	configured chan struct{}           // closed when cfg is set
	cfg        *proto.ConfigureRequest // immutable once set

	service atomic.Pointer[deploy.Service] // nil until it could be opened

	operations sync.WaitGroup // those that run; added to only under mu while ctx has not ended

	configuration configuration // for a worker whose purpose is to fetch one

	renewed chan struct{} // holds a token when the neighbours have changed

	keyWarnings []string // of the head's keys; guarded by the board's lock, as the report that they are for

	mu         sync.Mutex        // guards neighbours
	neighbours *proto.Neighbours // the latest that pgod sent
}

// New returns a worker that waits to be configured.
func New(log hclog.Logger) *Worker {
	ctx, cancel := context.WithCancel(context.Background())
	return &Worker{
		ctx:        ctx,
		cancel:     cancel,
		log:        log,
		queue:      deploy.NewQueue(),
		board:      newBoard(),
		meter:      newMeter(),
		configured: make(chan struct{}),
		renewed:    make(chan struct{}, 1),
	}
}

// Hello identifies this process.
func (w *Worker) Hello(context.Context, *proto.HelloRequest) (*proto.HelloReply, error) {
	groups, err := os.Getgroups()
	if err != nil {
		return nil, err
	}
	reply := &proto.HelloReply{
		Version: version.String(),
		Pid:     int64(os.Getpid()),
		Uid:     uint32(os.Getuid()),
		Gid:     uint32(os.Getgid()),
	}
	for _, g := range groups {
		reply.Groups = append(reply.Groups, uint32(g))
	}
	return reply, nil
}

// Configure opens the service and begins to follow its branch. A problem with the service
// itself is not an error here: it is reported in its state.
func (w *Worker) Configure(_ context.Context, r *proto.ConfigureRequest) (*proto.ConfigureReply, error) {
	err := errors.New("configured twice")
	w.once.Do(func() { err = w.configure(r) })
	return &proto.ConfigureReply{}, err
}

func (w *Worker) configure(r *proto.ConfigureRequest) error {
	if proto.Word(r.GetPurpose()) == "" {
		return errors.New("the worker was not told its purpose")
	}
	if err := os.Chdir(r.GetDir()); err != nil {
		return err
	}
	// What an earlier worker started and could not end with itself must not keep running
	// next to what this one starts.
	if err := killMarked(markerOf(r)); err != nil {
		return err
	}
	w.cfg, w.neighbours = r, r.GetNeighbours()
	close(w.configured)
	if r.GetPurpose() != proto.ConfigureRequest_PURPOSE_SERVICE {
		return nil // it waits to be told what to do
	}
	w.open()
	go w.follow()
	return nil
}

// open opens the service, or reports why it cannot.
func (w *Worker) open() bool {
	service, err := deploy.Open(serviceConfig(w.cfg), w.queue, w.log, w.report)
	if err != nil {
		if w.board.broken(err) {
			w.log.Error("cannot open the service", "error", err)
		}
		return false
	}
	w.mu.Lock()
	service.Adjust(neighbours(w.neighbours))
	w.service.Store(service)
	w.mu.Unlock()
	w.report()
	return true
}

// Adjust sets what the host has next to the service from now on. A proxy is told at once;
// the next poll finds out what this means for what is deployed.
func (w *Worker) Adjust(_ context.Context, r *proto.AdjustRequest) (*proto.AdjustReply, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.neighbours = r.GetNeighbours()
	if service := w.service.Load(); service != nil {
		service.Adjust(neighbours(w.neighbours))
		select {
		case w.renewed <- struct{}{}:
		default:
		}
	}
	return &proto.AdjustReply{}, nil
}

// markerOf returns the variable in the environment of everything that this service's
// workers start.
func markerOf(r *proto.ConfigureRequest) string {
	return "PGO_SERVICE_DIR=" + filepath.Clean(r.GetDir())
}

// Ping is the heartbeat.
func (w *Worker) Ping(context.Context, *proto.PingRequest) (*proto.PingReply, error) {
	return &proto.PingReply{}, nil
}

// Drain refuses further changes and returns when the running one has ended.
func (w *Worker) Drain(ctx context.Context, _ *proto.DrainRequest) (*proto.DrainReply, error) {
	return &proto.DrainReply{}, w.queue.Drain(ctx)
}

// Close interrupts what runs and waits for it, at most until ctx ends. Containers stay as
// they are.
func (w *Worker) Close(ctx context.Context) {
	w.mu.Lock()
	w.cancel()
	w.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		w.operations.Wait()
		close(ended)
	}()
	_ = w.queue.Drain(ctx)
	select {
	case <-ended:
	case <-ctx.Done():
	}
}
