package sshd

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"pgo/internal/printable"
	"pgo/internal/pubkey"
	"pgo/internal/wait"
)

// maxOversized is how many keys that are too large to be checked cheaply one connection may try.
// Signatures are verified before a key can be refused, so each of them is expensive.
const maxOversized = 2

// The maximum length of a login name, and of an error in the log, which may quote the client.
const (
	maxUser  = 64
	maxError = 512
)

var (
	errUnknownKey = errors.New("nobody knows this key")
	errManyKeys   = errors.New("too many other keys were tried before it")
)

// identityKey and partyKey are where these are in a connection's permissions. They are kept there
// and nowhere else: a client may offer any number of keys that are not its own.
type (
	identityKey struct{}
	partyKey    struct{}
)

// login is one connection's way through authentication. All its methods run in the
// goroutine of the handshake.
type login struct {
	server  *Server
	ctx     context.Context // ends when the time for the handshake is over
	visitor *visitor

	stranger  *strangerConn
	conn      ssh.ServerPreAuthConn // nil until keys have been exchanged
	tried     bool                  // a method, even "none", was refused or granted
	user      string                // the last one that the client has sent
	offered   []string              // fingerprints
	refused   int                   // keys
	oversized int                   // those of refused
}

// admit takes a connection through the lobby, where it may have to wait for its turn and because
// of failures of its source, and logs it in.
func (s *Server) admit(ctx context.Context, v *visitor) (*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request, bool) {
	if err := v.await(ctx, s.limits.Wait); err != nil {
		if errors.Is(err, errNoTurn) {
			s.logRefusal(v)
		}
		return nil, nil, nil, false
	}
	if !s.trusts(v.addr) {
		_, delay := s.records.of(v.source)
		_ = wait.For(ctx, delay)
	}
	ctx, cancel := context.WithTimeout(ctx, s.limits.Handshake)
	defer cancel()
	deadline, _ := ctx.Deadline()
	_ = v.conn.SetDeadline(deadline) // fails only if it is closed, and then so does all else
	conn := &strangerConn{Conn: v.conn, visitor: v, ctx: ctx, most: s.limits.LoginBytes, begun: make(chan struct{})}
	l := &login{server: s, ctx: ctx, visitor: v, stranger: conn}
	sc, channels, requests, err := ssh.NewServerConn(conn, l.config())
	if err != nil {
		l.failed(err)
		cancel() // ends a pending read
		drain(l.conn)
		return nil, nil, nil, false
	}
	_ = v.conn.SetDeadline(time.Time{})
	s.records.works(v.source)
	return sc, channels, requests, true
}

// failed logs the end of a login that did not work, and slows its source down if that is to
// blame. A client that has tried no key may be a port scan, a health check or somebody who does
// not accept the host's key: if it leaves by itself, that does not count as a failure.
func (l *login) failed(err error) {
	s, source := l.server, l.visitor.conn.RemoteAddr()
	says := printable.Line(printable.Cut(err.Error(), maxError))
	attempt := l.tried || len(l.offered) > 0
	if attempt {
		s.log.Warn("refused login", "source", source, "user", printable.Line(boundUser(l.user)),
			"fingerprint", strings.Join(l.offered, " "), "error", says)
	} else {
		s.log.Debug("connection ended before a login", "source", source, "error", says)
	}
	ours := context.Cause(l.ctx)
	if errors.Is(ours, errMadeRoom) || errors.Is(ours, ErrClosed) || !attempt && clientLeft(err) || s.trusts(l.visitor.addr) {
		return
	}
	if delay := s.records.fails(l.visitor.source); delay == s.limits.FirstDelay {
		s.logSlowdown(l.visitor)
	}
}

func (s *Server) logSlowdown(v *visitor) {
	if s.slowdowns.allows(func(n int) { s.log.Warn("slowing down more sources whose logins fail", "sources", n) }) {
		s.log.Warn("slowing down a source whose logins fail; trusted_networks can exempt it", "source", v.source)
	}
}

// clientLeft reports whether a handshake ended because the client went away.
func clientLeft(err error) bool {
	if auth := new(ssh.ServerAuthError); errors.As(err, &auth) {
		return len(auth.Errors) == 0 // how the library reports an end before the first method
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		strings.HasPrefix(err.Error(), "ssh: disconnect, ") // the library does not export its type
}

func (l *login) config() *ssh.ServerConfig {
	config := &ssh.ServerConfig{
		Config: ssh.Config{
			// No finite-field Diffie-Hellman: it costs the victim of a stranger milliseconds, and
			// every client of the last ten years supports one of these.
			KeyExchanges: []string{
				ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
				ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521,
			},
			// Clients prefer ChaCha20, which is slow here, in plain Go. Every client of the last
			// ten years supports one of these, for which processors have instructions.
			Ciphers: []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR},
			MACs:    []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512},
		},
		PublicKeyAuthAlgorithms:   pubkey.Algorithms(),
		ServerVersion:             "SSH-2.0-pgo",
		MaxAuthTries:              l.server.limits.Tries,
		PublicKeyCallback:         l.offer,
		VerifiedPublicKeyCallback: l.prove,
		AuthLogCallback:           l.note,
		PreAuthConnCallback:       l.begin,
	}
	config.AddHostKey(l.server.hostKey)
	return config
}

// begin is called after the key exchange and before the first try.
func (l *login) begin(conn ssh.ServerPreAuthConn) {
	l.conn = conn
	l.visitor.progress.Store(keysExchanged)
	close(l.stranger.begun)
}

// offer checks a key that the client says it has. The client is told no more than yes or no.
func (l *login) offer(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if fingerprint := ssh.FingerprintSHA256(key); !slices.Contains(l.offered, fingerprint) && len(l.offered) < l.server.limits.Tries {
		l.offered = append(l.offered, fingerprint)
	}
	l.user = meta.User()
	if err := l.judge(key); err != nil {
		l.refused++
		return nil, err
	}
	party, known := l.server.backend.Knows(l.ctx, key)
	if !known || l.server.isElsewhere(key, meta) {
		l.refused++
		return nil, errUnknownKey
	}
	return &ssh.Permissions{ExtraData: map[any]any{partyKey{}: party}}, nil
}

// judge returns what is wrong with a key, whoever has it.
func (l *login) judge(key ssh.PublicKey) error {
	if l.refused >= l.server.limits.Tries { // the library allows twice as many
		return errManyKeys
	}
	refusal := pubkey.Check(key)
	if refusal == nil {
		return nil
	}
	if refusal == pubkey.ErrOversized {
		if l.oversized++; l.oversized >= maxOversized {
			l.visitor.conn.Close()
		}
	}
	return refusal
}

// prove is called when the client has shown that it has the key.
func (l *login) prove(meta ssh.ConnMetadata, key ssh.PublicKey, offered *ssh.Permissions, _ string) (*ssh.Permissions, error) {
	l.stranger.loggedIn.Store(true) // the client is told after this, and may then send anything
	identity := Identity{
		User:        boundUser(meta.User()),
		Fingerprint: ssh.FingerprintSHA256(key),
		Key:         key,
		Remote:      meta.RemoteAddr(),
	}
	return &ssh.Permissions{ExtraData: map[any]any{identityKey{}: identity, partyKey{}: offered.ExtraData[partyKey{}]}}, nil
}

func (l *login) note(meta ssh.ConnMetadata, _ string, _ error) {
	l.tried = true
	l.user = meta.User()
}

// boundUser bounds the name that a client sends.
func boundUser(user string) string {
	return strings.ToValidUTF8(user[:min(len(user), maxUser)], "")
}
