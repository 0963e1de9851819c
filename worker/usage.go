package worker

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pgo/proto"
	"pgo/worker/compose"
)

// usageFresh is how long a reading is given to other callers too: a host may have several
// observers, and the engine has other work.
const usageFresh = 500 * time.Millisecond

// usageTimeout bounds a reading.
const usageTimeout = 10 * time.Second

// meter measures what the containers use, one reading at a time.
type meter struct {
	turn chan struct{} // held by whoever reads; guards last
	last *proto.UsageReply
}

func newMeter() *meter { return &meter{turn: make(chan struct{}, 1)} }

// read returns the result of measure, or the last one if it is recent.
func (m *meter) read(ctx context.Context, measure func(context.Context) ([]compose.Usage, error)) (*proto.UsageReply, error) {
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	begun, err := clock()
	if err != nil {
		return nil, err
	}
	if m.last != nil && begun-m.last.GetAtNs() < usageFresh.Nanoseconds() {
		return m.last, nil
	}
	usages, err := measure(ctx)
	if err != nil {
		return nil, err
	}
	m.last = &proto.UsageReply{AtNs: begun}
	for _, u := range usages {
		m.last.Containers = append(m.last.Containers, &proto.ContainerUsage{
			Name: name(u.Name), Service: name(u.Service),
			State:  proto.Value[proto.ContainerUsage_State](u.State),
			Health: proto.Value[proto.ContainerUsage_Health](u.Health),
			CpuNs:  u.CPU, Memory: u.Memory, Restarts: uint32(u.Restarts),
		})
	}
	return m.last, nil
}

// clock returns the time of the host's monotonic clock.
func clock() (int64, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return now.Nano(), err
}

// Usage returns what the containers use. It does not wait for a change.
func (w *Worker) Usage(ctx context.Context, _ *proto.UsageRequest) (*proto.UsageReply, error) {
	service := w.service.Load()
	if service == nil {
		return nil, status.Error(codes.FailedPrecondition, "the service could not be opened")
	}
	ctx, cancel := context.WithTimeout(ctx, usageTimeout)
	defer cancel()
	reply, err := w.meter.read(ctx, service.Usage)
	if err != nil && !errors.Is(err, context.Canceled) {
		w.log.Debug("cannot measure the containers", "error", err)
		err = status.Error(codes.Unavailable, text(err.Error()))
	}
	return reply, err
}
