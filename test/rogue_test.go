package test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"pgo/internal/peer"
	"pgo/internal/version"
	"pgo/proto"
	"pgo/test/rig"
	"pgo/worker"
)

// rogueKey is the environment variable that makes this program a rogue worker.
const rogueKey = "PGO_TEST_ROGUE"

// rogue is a worker that does its work and, from its first report on, sends PINGs as fast as it
// can.
func rogue() {
	version.Version = "test"
	pgod := os.Getppid()
	f := &flooder{begin: make(chan struct{})}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: proto.Handshake,
		Plugins: plugin.PluginSet{proto.PluginName: &proto.Plugin{
			Worker: &rogueWorker{Worker: worker.New(hclog.NewNullLogger()), flooder: f},
		}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			f.TransportCredentials = peer.Process(func() int { return pgod })
			return grpc.NewServer(append(opts, grpc.Creds(f))...)
		},
		Logger: hclog.NewNullLogger(),
	})
}

type rogueWorker struct {
	*worker.Worker
	*flooder
}

// Report begins the flood.
func (r *rogueWorker) Report(request *proto.ReportRequest, stream grpc.ServerStreamingServer[proto.ReportReply]) error {
	r.once.Do(func() { close(r.begin) })
	return r.Worker.Report(request, stream)
}

// flooder floods each connection once it is told to begin.
type flooder struct {
	credentials.TransportCredentials
	begin chan struct{}
	once  sync.Once
}

func (f *flooder) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := f.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		return nil, nil, err
	}
	c := &floodedConn{Conn: conn}
	go func() {
		<-f.begin
		var pings strings.Builder
		framer := http2.NewFramer(&pings, nil)
		for range 1000 {
			_ = framer.WritePing(false, [8]byte{})
		}
		for {
			if _, err := c.Write([]byte(pings.String())); err != nil {
				return
			}
		}
	}()
	return c, info, nil
}

// Clone returns the same one.
func (f *flooder) Clone() credentials.TransportCredentials { return f }

// floodedConn keeps the frames of two writers apart.
type floodedConn struct {
	net.Conn
	mu sync.Mutex
}

func (c *floodedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Conn.Write(b)
}

// A worker that sends far more than it has to say costs pgod little, and does not live long. The
// others are not affected.
func TestFloodingWorkerIsReplaced(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, other, operator := r.Service("web"), r.Service("other"), r.Key("operator")
	web.Push("first", r.Idle())
	commit := other.Push("first", r.Idle())
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(r.Dir, "rogue", "pgo-worker")
	put(t, program, string(self), 0o755)
	pgod := r.Pgod(web, other)
	pgod.Flags = []string{"--worker", fakeWorker(t, r, `[ "$(id -un)" = `+web.User.Name+` ] || exec $WORKER
`+rogueKey+`=1 exec `+program)}
	pgod.Operators(operator)
	pgod.Start()
	deployed(t, pgod, other, commit)
	stopPings := pings(t, pgod, other)
	first := pgod.WorkerPID(web)
	replaced(t, pgod, web, first)
	stopPings()
	says(t, pgod.Log(), "the worker sends far more than it has to say: killing it: service="+web.Name)
	showsTo(t, pgod, operator, web, "the worker sends far more than it has to say", "it is started again")
}
