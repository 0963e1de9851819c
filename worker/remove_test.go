package worker

import (
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pgo/proto"
)

// Only a worker that was started for it takes its service down, and it does nothing else.
func TestRemoveIsForItsPurpose(t *testing.T) {
	remove := func(w *Worker) codes.Code {
		_, err := w.Remove(t.Context(), &proto.RemoveRequest{})
		return status.Code(err)
	}
	idle := New(hclog.NewNullLogger())
	if got := remove(idle); got != codes.FailedPrecondition {
		t.Errorf("before it is configured: %s", got)
	}
	other := New(hclog.NewNullLogger())
	other.cfg = &proto.ConfigureRequest{Name: "web", Dir: t.TempDir(), Purpose: proto.ConfigureRequest_PURPOSE_SERVICE}
	close(other.configured)
	if got := remove(other); got != codes.FailedPrecondition {
		t.Errorf("a service's own worker: %s", got)
	}
	t.Chdir(t.TempDir())
	remover := New(hclog.NewNullLogger())
	if err := remover.configure(&proto.ConfigureRequest{Name: "web", Dir: t.TempDir(), Purpose: proto.ConfigureRequest_PURPOSE_REMOVAL}); err != nil {
		t.Fatal(err)
	}
	if remover.service.Load() != nil {
		t.Error("the worker opened the service")
	}
	remover.Close(t.Context())
	if got := remove(remover); got != codes.Unavailable {
		t.Errorf("when it ends: %s", got)
	}
}
