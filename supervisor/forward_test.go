package supervisor

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"pgo/internal/config"
	"pgo/internal/target"
	"pgo/proto"
)

// A client learns why its worker did not complete the command.
func TestBroken(t *testing.T) {
	i := &instance{service: config.Service{Name: "web"}}
	left, leave := context.WithCancel(t.Context())
	leave()
	for _, test := range []struct {
		ctx    context.Context
		err    error
		status uint32
		says   string
	}{
		{t.Context(), closedMeanwhile(t), target.StatusUnavailable, "the worker of web ended before"},
		{t.Context(), status.Error(codes.Unavailable, "reset"), target.StatusUnavailable, "the worker of web ended before"},
		{t.Context(), io.EOF, target.StatusUnavailable, "the worker of web ended before"},
		{t.Context(), errors.New("no idea"), target.StatusFault, "no idea"},
		{left, closedMeanwhile(t), target.StatusFault, "the client disconnected"},
	} {
		if exit := i.broken(test.ctx, test.err); exit.Status != test.status || !strings.HasPrefix(exit.Message, test.says) {
			t.Errorf("%v: %+v", test.err, exit)
		}
	}
}

// closedMeanwhile returns the error of a call whose own side closes the connection.
func closedMeanwhile(t *testing.T) error {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	proto.RegisterWorkerServer(server, proto.UnimplementedWorkerServer{})
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	if err := connection.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = proto.NewWorkerClient(connection).Run(t.Context())
	if err == nil {
		t.Fatal("a closed connection carries a call")
	}
	return err
}
