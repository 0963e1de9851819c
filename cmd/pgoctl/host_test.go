package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"pgo/internal/sshd"
	"pgo/internal/target"
)

// testHost is what pgod is without services: its listener, and a backend that does as if.
type testHost struct {
	dir            string   // the public keys of a service are in <dir>/<service>/*.pub
	socket         *os.File // bound to the port
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

// start serves on the listener with a new host key, and returns that.
func (h *testHost) start(listener net.Listener, limits sshd.Limits) (ssh.PublicKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	h.server = sshd.New(sshd.Options{HostKey: signer, Backend: h, Logger: hclog.NewNullLogger(), Limits: limits})
	go func() { _ = h.server.Serve(context.Background(), listener) }()
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

// patience is how long a test waits for what it knows will happen.
const patience = 30 * time.Second

func await(c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-time.After(patience):
		return errors.New("waited in vain")
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

func (h *testHost) Run(ctx context.Context, s sshd.Session) sshd.Exit {
	c := s.Command
	list := c.Service
	if list == "" {
		list = "operators"
	}
	if !h.may(s.Identity.Key, list) {
		return sshd.Exit{Status: target.StatusUnauthorized, Message: target.Unauthorized(s.Identity.User, c.Service)}
	}
	switch c.Operation {
	case "ping":
		fmt.Fprintln(s.Stdout, "pong!")
	case "metrics":
		fmt.Fprintf(s.Stdout, "pgo_up 1\nasked %d\n", h.metrics.Add(1))
		if h.slow != nil {
			<-h.slow
		}
	case "history":
		fmt.Fprint(s.Stdout, `[
  {"commit": "468ac4e2d9b9a5a64dcab3dbb2aa4ca2e8ab5d8f", "subject": "second", "can_roll_back_to": true},
  {"commit": "111111111111a5a64dcab3dbb2aa4ca2e8ab5d8f", "subject": "first", "can_roll_back_to": false}
]`)
	case "ps":
		if slices.Contains(c.Args, "--services") {
			fmt.Fprint(s.Stdout, "web\ndb\n")
			break
		}
		fmt.Fprintf(s.Stdout, "%q\n", c.Args)
		fmt.Fprint(s.Stderr, "Unauthorized: says the container, and then\nmore\n")
	case "down": // ends as it is told
		status, _ := strconv.Atoi(c.Args[1])
		message := ""
		if status >= 400 {
			message = "the host says " + c.Args[1]
		}
		return sshd.Exit{Status: uint32(status), Message: message}
	case "status":
		if c.Service == "" {
			fmt.Fprint(s.Stdout, `{"services":[{"service":"pgo","state":"running"},{"service":"shop"}]}`)
			break
		}
		if slices.Contains(c.Args, "--json") {
			fmt.Fprintf(s.Stdout, "{\"service\":%q}\n", c.Service)
		}
	case "git hash":
		fmt.Fprintf(s.Stdout, "of %s", s.Identity.User)
	case "diff": // as much as possible at once, in pieces
		var both sync.WaitGroup
		for _, out := range []io.Writer{s.Stdout, s.Stderr} {
			both.Go(func() {
				for i := range 500 {
					fmt.Fprintf(out, "a line of %s, ", s.Identity.User)
					fmt.Fprintf(out, "number %d\n", i)
				}
			})
		}
		both.Wait()
	case "images":
		fmt.Fprintf(s.Stdout, "[%q,\n", s.Identity.User) // no JSON line
	case "top":
		if c.Service != "" || !slices.Contains(c.Args, "--json") {
			fmt.Fprintf(s.Stdout, "a table %q, colours: %v\n", c.Args, s.Color)
			break
		}
		for {
			select {
			case text := <-h.more:
				fmt.Fprint(s.Stdout, text)
			case <-ctx.Done():
				return sshd.Exit{}
			}
		}
	case "watch":
		for {
			select {
			case text := <-h.more:
				fmt.Fprint(s.Stdout, text)
			case <-ctx.Done():
				return sshd.Exit{}
			}
		}
	case "exec":
		return h.exec(ctx, s)
	case "logs":
		fmt.Fprintln(s.Stdout, "following")
		h.running <- struct{}{}
		<-ctx.Done()
		h.ended <- struct{}{}
	}
	return sshd.Exit{}
}
