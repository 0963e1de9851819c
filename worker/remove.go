package worker

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pgo/proto"
	"pgo/worker/deploy"
)

// Remove takes down the containers of a service that is no longer configured.
func (w *Worker) Remove(ctx context.Context, _ *proto.RemoveRequest) (*proto.RemoveReply, error) {
	select {
	case <-w.configured:
	default:
		return nil, status.Error(codes.FailedPrecondition, "the worker is not configured yet")
	}
	if w.cfg.GetPurpose() != proto.ConfigureRequest_PURPOSE_REMOVAL {
		return nil, status.Error(codes.FailedPrecondition, "this worker was not started to remove its service")
	}
	ctx, done, err := w.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := deploy.Remove(ctx, serviceConfig(w.cfg), w.queue, w.log); err != nil {
		return nil, status.Error(codes.Unknown, text(err.Error()))
	}
	return &proto.RemoveReply{}, nil
}
