package proto

import (
	"context"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// PluginName is the one plugin that a worker serves.
const PluginName = "worker"

// MaxMessage bounds each message between pgod and a worker, in bytes.
const MaxMessage = 4 << 20

// Flow-control windows in either direction of a connection, in bytes: of one call, which bounds
// what waits in pgod for a client that does not read, and of all calls.
const (
	StreamWindow = 256 << 10
	ConnWindow   = 1 << 20
)

// Handshake tells a worker that pgod started it. It is not a secret and does not protect
// anything: package peer and the socket's directory do.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  2,
	MagicCookieKey:   "PGO_WORKER",
	MagicCookieValue: "started-by-pgod",
}

// Plugin is go-plugin's view of a worker: only the generated client and server.
type Plugin struct {
	plugin.NetRPCUnsupportedPlugin
	Worker WorkerServer // nil in pgod
}

// GRPCServer registers the worker.
func (p *Plugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	RegisterWorkerServer(s, p.Worker)
	return nil
}

// GRPCClient returns the WorkerClient.
func (p *Plugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewWorkerClient(conn), nil
}
