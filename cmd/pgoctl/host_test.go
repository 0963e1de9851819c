package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"pgo/internal/sshd"
	"pgo/internal/target"
)

// testHost is a pgod without services: its listener, and a simulated backend.
type testHost struct {
	dir            string   // the public keys of a service are in <dir>/<service>/*.pub
	socket         *os.File // bound to the port
	private        []byte   // the host's key, as its file has it
	port           int
	server         *sshd.Server
	running, ended chan struct{} // `logs -f`
	slow           chan struct{} // not nil: metrics wait for it
	more           chan string   // what `watch` prints
	logins         atomic.Int64  // so far
	metrics        atomic.Int64  // how often they were asked for
}

func newTestHost(dir string) *testHost {
	return &testHost{dir: dir, running: make(chan struct{}, 1), ended: make(chan struct{}, 1), more: make(chan string)}
}

// listen returns a listener on a port of 127.0.0.1, the same one each time: a socket that is
// bound to it, and never listens, keeps it from others.
func (h *testHost) listen() (net.Listener, error) {
	if h.port == 0 {
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		h.socket = os.NewFile(uintptr(socket), "a bound socket")
		if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return nil, err
		}
		if err := unix.Bind(socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return nil, err
		}
		address, err := unix.Getsockname(socket)
		if err != nil {
			return nil, err
		}
		h.port = address.(*unix.SockaddrInet4).Port
	}
	return net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", h.port))
}

// start serves on the listener with a new host key, and returns the key.
func (h *testHost) start(listener net.Listener, limits sshd.Limits) (ssh.PublicKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	h.private = pem.EncodeToMemory(block)
	server := sshd.New(sshd.Options{HostKey: signer, Backend: h, Logger: hclog.NewNullLogger(), Limits: limits})
	h.server = server // the field may have another one before the goroutine begins
	go func() { _ = server.Serve(context.Background(), listener) }()
	return signer.PublicKey(), nil
}

func (h *testHost) stop() {
	if h.server != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = h.server.Shutdown(ctx) // at once, whatever runs
	}
}

// close gives up the port as well.
func (h *testHost) close() {
	h.stop()
	if h.socket != nil {
		h.socket.Close()
	}
}

// patience is how long a test waits for something that is certain to happen.
const patience = 30 * time.Second

func await(c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-time.After(patience):
		return errors.New("timed out")
	}
}

func (h *testHost) Knows(_ context.Context, key ssh.PublicKey) (sshd.Party, bool) {
	if h.may(key, "*") {
		h.logins.Add(1)
		return sshd.Party{}, true
	}
	return sshd.Party{}, false
}

func (h *testHost) may(key ssh.PublicKey, service string) bool {
	files, _ := filepath.Glob(filepath.Join(h.dir, service, "*.pub"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		if k, _, _, _, err := ssh.ParseAuthorizedKey(text); err == nil && bytes.Equal(k.Marshal(), key.Marshal()) {
			return true
		}
	}
	return false
}

// process is a command that runs on the host.
type process struct {
	ctx context.Context
	sshd.Command
	host *testHost
	args []string
}

func (h *testHost) Run(ctx context.Context, s sshd.Command) sshd.Exit {
	c := s.Command
	list := c.Service
	if list == "" {
		list = "operators"
	}
	if !h.may(s.Identity.Key, list) {
		return sshd.Exit{Status: target.StatusUnauthorized, Message: target.Unauthorized(s.Identity.User, c.Service)}
	}
	answer, ok := answers[c.Operation]
	if !ok {
		return sshd.Exit{}
	}
	return answer(&process{ctx, s, h, c.Args})
}
