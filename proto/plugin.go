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

// How much may be on its way in either direction of a connection, in bytes: of one
// call, which is what a client that does not read can have waiting in pgod, and of all.
const (
	StreamWindow = 256 << 10
	ConnWindow   = 1 << 20
)

// Handshake tells a worker that pgod started it. It is no secret and no
// protection: that is package peer, and the socket's directory.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  1,
	MagicCookieKey:   "PGO_WORKER",
	MagicCookieValue: "started-by-pgod",
}

// Plugin is go-plugin's view of a worker: nothing but the generated client and
// server.
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
