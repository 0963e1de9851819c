// Package sshd is pgod's SSH listener: it lets known keys in, reads one command per session and
// hands it to a Backend, with the client's input and terminal if the command uses them. It must
// not know services, workers or the configuration.
package sshd

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"pgo/internal/sockets"
	"pgo/internal/target"
	"pgo/internal/wait"
)

// Identity is the client of a connection: the holder of a key.
type Identity struct {
	User        string // the login name that the client sent, at most 64 bytes: unverified, only to be shown and logged
	Fingerprint string // SHA256:…
	Key         ssh.PublicKey
	Remote      net.Addr
}

// Command is a command that a client asks for, and its streams. A session has at most one.
type Command struct {
	target.Command
	Identity Identity
	// Stdout and Stderr go to the client as they are written. One goroutine may write to
	// each of them, until Run returns.
	Stdout, Stderr io.Writer
	// Stdin is what the client sends, up to io.EOF; any other error means that the client is
	// gone. It may be read after Run has returned. It and Signals are nil for a command that
	// takes no input.
	Stdin io.Reader
	// Signals are those that the client sends to the command: INT, TERM, …, as in RFC 4254
	// section 6.10. Without it, a signal ends the command's context.
	Signals  <-chan string
	Terminal *Terminal // the client's; nil: it has none, or the command does not use it
	Color    bool      // the client shows colours
}

// Exit is how a command ended.
type Exit struct {
	Status  uint32 // the program's own, 0 to 255, or one of target's
	Message string // if not empty, written to stderr as a line of its own before the status
	Signal  string // if not empty, what ended the program: INT, TERM, …; there is no status then
}

// Backend carries out what clients ask for.
type Backend interface {
	// Knows reports whether the key may log in at all, and whose it is. It may wait for the
	// answer, but not beyond ctx. It is asked about keys that are merely offered.
	Knows(ctx context.Context, key ssh.PublicKey) (Party, bool)
	// Run carries out one command. First it checks whether this key may do so. ctx ends when the
	// client leaves or interrupts, or pgod stops.
	Run(ctx context.Context, c Command) Exit
}

// Options are what a Server is made of.
type Options struct {
	HostKey ssh.Signer
	Backend Backend
	Logger  hclog.Logger
	Limits  Limits // the zero value means DefaultLimits
}

// Server accepts connections and serves them.
type Server struct {
	// Set by New, then immutable.
	hostKey ssh.Signer
	backend Backend
	log     hclog.Logger
	limits  Limits
	isRoots func(local, remote *net.TCPAddr) bool // sockets.IsRoots, except in tests

	lobby       *lobby   // connections that have not authenticated yet
	records     *records // how logins went
	connections *shares  // connections that have authenticated
	sessions    *shares  // their channels

	trusted   atomic.Pointer[[]netip.Prefix] // networks that are never slowed down
	localOnly atomic.Pointer[string]         // a key, in wire form, that counts only from this host

	refusals, evictions, overdrafts, slowdowns ration // of log lines

	handlers sync.WaitGroup // one for each connection
	commands sync.WaitGroup // running; added to only under mu while not closing

	mu        sync.Mutex // guards what follows
	closing   bool
	listeners map[net.Listener]struct{}
	open      map[net.Conn]context.CancelCauseFunc
}

// New returns a Server that does nothing until Serve is called.
func New(o Options) *Server {
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	return &Server{
		hostKey:     o.HostKey,
		backend:     o.Backend,
		log:         o.Logger,
		limits:      o.Limits,
		isRoots:     sockets.IsRoots,
		lobby:       newLobby(o.Limits),
		records:     newRecords(o.Limits),
		connections: newShares(o.Limits),
		sessions:    newShares(o.Limits),
		listeners:   map[net.Listener]struct{}{},
		open:        map[net.Conn]context.CancelCauseFunc{},
	}
}

// Trust sets the networks whose logins are never slowed down, however many of them fail. It may
// be called at any time, and replaces the previous ones.
func (s *Server) Trust(networks []netip.Prefix) { s.trusted.Store(&networks) }

func (s *Server) trusts(addr netip.Addr) bool {
	networks := s.trusted.Load()
	return networks != nil && slices.ContainsFunc(*networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// ErrClosed is returned by Serve on a Server that was shut down before.
var ErrClosed = errors.New("the SSH server is shut down")

// Serve accepts connections until Shutdown is called, and then returns nil. The end of ctx
// ends it at once, running commands included.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	if !s.addListener(listener) {
		return errors.Join(ErrClosed, listener.Close())
	}
	stop := context.AfterFunc(ctx, s.close)
	defer stop()
	for {
		conn, err := listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			// Most likely out of file descriptors or memory, for the moment.
			s.log.Error("cannot accept a connection", "error", err)
			_ = wait.For(ctx, 100*time.Millisecond)
		default:
			s.accept(ctx, conn)
		}
	}
}

// Shutdown refuses new connections and commands, lets running ones continue until ctx ends, and
// then closes what is left. It returns ctx's error if it has cut something off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopListening()
	defer s.close()
	if err := waitFor(ctx, &s.commands); err != nil {
		return err
	}
	s.sendNoMore()
	leaving, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	_ = waitFor(leaving, &s.handlers)
	s.close()
	return waitFor(ctx, &s.handlers)
}

// leaveTime is how long a client may take to leave when its commands have ended and pgod stops.
const leaveTime = time.Second

// sendNoMore tells the clients that nothing follows. They answer the end of their commands and leave: a
// connection that is closed before is reset, and then stock ssh forgets how its command has ended.
func (s *Server) sendNoMore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		if half, ok := c.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
}

func waitFor(ctx context.Context, group *sync.WaitGroup) error {
	idle := make(chan struct{})
	go func() {
		group.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// accept starts to serve a connection, unless too many have not logged in yet.
func (s *Server) accept(ctx context.Context, conn net.Conn) {
	ctx, end := context.WithCancelCause(ctx)
	v := s.newVisitor(conn, end)
	if !s.lobby.enter(v) {
		s.logRefusal(v)
		end(errNoTurn)
		conn.Close()
		return
	}
	if !s.addConn(conn, end) {
		s.lobby.leave(v)
		end(ErrClosed)
		conn.Close()
		return
	}
	go func() {
		defer s.handlers.Done()
		defer s.removeConn(conn)
		defer s.contain("a connection")
		defer s.lobby.leave(v)
		s.handle(ctx, v)
		if errors.Is(context.Cause(ctx), errMadeRoom) {
			s.logEviction(v)
		}
	}()
}

func (s *Server) newVisitor(conn net.Conn, end context.CancelCauseFunc) *visitor {
	addr := addressOf(conn.RemoteAddr())
	v := &visitor{conn: conn, addr: addr, source: sourceOf(addr), standing: proven, end: end, turn: make(chan struct{})}
	if !s.trusts(addr) {
		v.standing, _ = s.records.of(v.source)
	}
	return v
}

func (s *Server) logRefusal(v *visitor) {
	if s.refusals.allows(func(n int) { s.log.Warn("refused more connections: too many are logging in", "connections", n) }) {
		s.log.Warn("refused connection: too many are logging in", "source", v.conn.RemoteAddr())
	}
}

func (s *Server) logEviction(v *visitor) {
	if s.evictions.allows(func(n int) {
		s.log.Warn("ended more connections that had not logged in, to make room", "connections", n)
	}) {
		s.log.Warn("ended a connection that had not logged in, to make room", "source", v.conn.RemoteAddr())
	}
}

// contain keeps a fault in one connection from ending pgod, and with it all other connections.
func (s *Server) contain(where string) {
	if fault := recover(); fault != nil {
		s.logFault(where, fault)
	}
}

func (s *Server) logFault(where string, fault any) {
	s.log.Error("a fault in pgo ended "+where, "fault", fault, "stack", string(debug.Stack()))
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) addConn(c net.Conn, end context.CancelCauseFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.open[c] = end
	s.handlers.Add(1)
	return true
}

func (s *Server) removeConn(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c](nil)
	delete(s.open, c)
	c.Close()
}

// addCommand reports whether one more command may start. If so, its end must call commands.Done.
func (s *Server) addCommand() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.commands.Add(1)
	return true
}

func (s *Server) stopListening() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for l := range s.listeners {
		l.Close()
	}
}

// Connections returns how many connections are open, including those that have not logged in.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// close ends everything; the handlers see their connections end and return.
func (s *Server) close() {
	s.stopListening()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, end := range s.open {
		end(ErrClosed)
		c.Close()
	}
}
