package supervisor

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"pgo/internal/config"
	"pgo/internal/peer"
	"pgo/internal/version"
	"pgo/proto"
)

// rogueKey is the environment variable that makes this program a rogue worker.
const rogueKey = "PGO_TEST_ROGUE"

func TestMain(m *testing.M) {
	if os.Getenv(rogueKey) != "" {
		beRogue()
		return
	}
	os.Exit(m.Run())
}

// beRogue is a worker that, once it is asked for reports, sends PINGs as fast as it can.
func beRogue() {
	pgod, begin := os.Getppid(), make(chan struct{})
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: proto.Handshake,
		Plugins:         plugin.PluginSet{proto.PluginName: &proto.Plugin{Worker: &rogueWorker{begin: begin}}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.Creds(flooder{peer.Process(func() int { return pgod }), begin}))...)
		},
		Logger: hclog.NewNullLogger(),
	})
}

// rogueWorker does what keeps a worker alive, and nothing else.
type rogueWorker struct {
	proto.UnimplementedWorkerServer
	begin chan struct{}
	once  sync.Once
}

func (*rogueWorker) Hello(context.Context, *proto.HelloRequest) (*proto.HelloReply, error) {
	groups, err := os.Getgroups()
	reply := &proto.HelloReply{Version: version.String(), Pid: int64(os.Getpid()), Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}
	for _, g := range groups {
		reply.Groups = append(reply.Groups, uint32(g))
	}
	return reply, err
}

func (*rogueWorker) Configure(context.Context, *proto.ConfigureRequest) (*proto.ConfigureReply, error) {
	return &proto.ConfigureReply{}, nil
}

func (*rogueWorker) Ping(context.Context, *proto.PingRequest) (*proto.PingReply, error) {
	return &proto.PingReply{}, nil
}

func (r *rogueWorker) Report(_ *proto.ReportRequest, stream grpc.ServerStreamingServer[proto.ReportReply]) error {
	r.once.Do(func() { close(r.begin) })
	<-stream.Context().Done()
	return nil
}

// flooder floods each connection once it begins.
type flooder struct {
	credentials.TransportCredentials
	begin chan struct{}
}

func (f flooder) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := f.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		return nil, nil, err
	}
	c := &sharedConn{Conn: conn}
	go func() {
		<-f.begin
		ping := append([]byte{0, 0, 8, 6, 0, 0, 0, 0, 0}, make([]byte, 8)...)
		for many := bytes.Repeat(ping, 1000); err == nil; {
			_, err = c.Write(many)
		}
	}()
	return c, info, nil
}

func (f flooder) Clone() credentials.TransportCredentials { return f }

// sharedConn keeps the frames of two writers apart.
type sharedConn struct {
	net.Conn
	mu sync.Mutex
}

func (c *sharedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Conn.Write(b)
}

// A worker that sends far more than it has to say does not live long, and the reason is known.
func TestRogue(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a process as somebody")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "worker")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+rogueKey+"=1 exec "+self+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	log := &journal{}
	s := newSupervisorWith(t, hclog.New(&hclog.LoggerOptions{Output: log}), "")
	defer s.Close(t.Context())
	s.launcher.opts.Worker = program
	s.Apply([]config.Service{{Name: "web", User: "root", DockerHost: "unix:///nonexistent"}}, nil, 0)
	v := s.instance("web").view
	var states []state
	for deadline := time.Now().Add(2 * time.Minute); ; {
		v.mu.Lock()
		now, moved := v.snapshot, v.moved
		v.mu.Unlock()
		if states = append(states, now.state); errors.Is(now.err, errFlood) {
			break
		}
		select {
		case <-moved:
		case <-time.After(time.Until(deadline)):
			t.Fatalf("it is still %s: %v\n%s", now.state, now.err, log)
		}
	}
	if !slices.Contains(states, ready) {
		t.Errorf("it went through %v, and was never ready", states)
	}
	if !strings.Contains(log.String(), "the worker sends far more than it has to say: killing it: service=web pid=") {
		t.Errorf("the log says\n%s", log)
	}
}
