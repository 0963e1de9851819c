package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func exactly(pid int) func() int { return func() int { return pid } }

// A process that the other end does not expect gets no call through.
func TestProcess(t *testing.T) {
	me, other := os.Getpid(), os.Getppid()
	for _, test := range []struct {
		name              string
		listens, connects int // the process that the other end expects
		want              codes.Code
	}{
		{"both are as expected", me, me, codes.OK},
		{"another one has connected", me, other, codes.Unavailable},
		{"another one listens", other, me, codes.Unavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "socket")
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer(grpc.Creds(Process(exactly(test.connects))))
			grpc_health_v1.RegisterHealthServer(server, health.NewServer())
			go func() { _ = server.Serve(listener) }()
			defer server.Stop()
			client, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(Process(exactly(test.listens))))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err = grpc_health_v1.NewHealthClient(client).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
			if status.Code(err) != test.want {
				t.Errorf("%v, not %s", err, test.want)
			}
		})
	}
}

// There is no process at the other end of something that is not a Unix socket.
func TestNoUnixSocket(t *testing.T) {
	here, there := net.Pipe()
	defer func() { _, _ = here.Close(), there.Close() }()
	if _, _, err := Process(exactly(os.Getpid())).ServerHandshake(here); err == nil {
		t.Error("a pipe is accepted")
	}
	_ = here.SetReadDeadline(time.Now())
	if _, err := here.Read(make([]byte, 1)); errors.Is(err, io.ErrClosedPipe) {
		t.Error("it was closed, which gRPC does")
	}
}
