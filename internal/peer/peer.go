// Package peer lets the two ends of a gRPC connection over a Unix socket verify each other by the
// process at the other end, which the kernel reports: unix(7), SO_PEERCRED. Nothing is
// encrypted, since nobody is in between. It must not know who the two ends are.
package peer

import (
	"context"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
)

// protocol is the name of this security protocol.
const protocol = "peercred"

// Process accepts one process at the other end: the one that connected or, seen from
// there, the one that listens. It is asked for anew with each connection.
func Process(pid func() int) credentials.TransportCredentials { return &process{pid} }

type process struct{ pid func() int }

// info says that only the two ends can read and write what goes through a Unix socket.
type info struct{ credentials.CommonAuthInfo }

func (info) AuthType() string { return protocol }

// ClientHandshake is for the end that connects.
func (p *process) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return p.check(conn)
}

// ServerHandshake is for the end that listens.
func (p *process) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return p.check(conn)
}

func (p *process) check(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	there, err := peerPID(conn)
	if want := p.pid(); err == nil && there != want {
		err = fmt.Errorf("process %d is at the other end instead of %d", there, want)
	}
	if err != nil {
		return nil, nil, err // gRPC closes the connection
	}
	return conn, info{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

// peerPID returns the process at the other end of a Unix socket.
func peerPID(conn net.Conn) (pid int, err error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("a %T is not a Unix socket", conn)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var is *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) { is, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, fmt.Errorf("cannot tell who is at the other end: %w", failed)
	}
	return int(is.Pid), nil
}

// Info returns what gRPC wants to know about the security protocol.
func (p *process) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: protocol}
}

// Clone returns the same one, since nothing of it changes.
func (p *process) Clone() credentials.TransportCredentials { return p }

// OverrideServerName does nothing: a process has no such name.
func (p *process) OverrideServerName(string) error { return nil }
