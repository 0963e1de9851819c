package sshd

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"pgo/internal/printable"
)

// Checking an RSA signature takes a time that grows with the square of the key's length:
// with 16 kbit, which the library takes, thirty times that of 4 kbit.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// maxOversized is how often one connection may come with a larger key than that. Signatures
// are checked before anything can be said about the key, and so each one costs.
const maxOversized = 2

// maxUser is how much of a login name is kept.
const maxUser = 64

var (
	errUnknownKey  = errors.New("nobody knows this key")
	errCertificate = errors.New("certificates are not accepted")
)

// identityKey is where the identity is in a connection's permissions. It travels there and
// nowhere else: a client may offer any number of keys that are not its own.
type identityKey struct{}

// login is one connection's way through authentication. All its methods run in the
// goroutine of the handshake.
type login struct {
	server *Server
	ctx    context.Context // ends with the time for the handshake
	conn   net.Conn

	tried     bool     // a method, be it "none", was refused or granted
	user      string   // the last one the client called itself
	offered   []string // fingerprints
	oversized int
}

// login does the handshake with a client.
func (s *Server) login(ctx context.Context, conn net.Conn) (*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	deadline := time.Now().Add(s.limits.Handshake)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	_ = conn.SetDeadline(deadline) // fails if it is closed already, as all else will
	l := &login{server: s, ctx: ctx, conn: conn}
	sc, channels, requests, err := ssh.NewServerConn(conn, l.config())
	switch {
	case err == nil:
		_ = conn.SetDeadline(time.Time{})
	case l.tried || len(l.offered) > 0:
		s.log.Warn("refused login", "source", conn.RemoteAddr(), "user", printable.Line(boundUser(l.user)),
			"fingerprint", strings.Join(l.offered, " "), "error", printable.Line(err.Error()))
	default:
		s.log.Debug("connection ended before a login", "source", conn.RemoteAddr(), "error", printable.Line(err.Error()))
	}
	return sc, channels, requests, err
}

func (l *login) config() *ssh.ServerConfig {
	config := &ssh.ServerConfig{
		Config: ssh.Config{
			// No finite-field Diffie-Hellman: it costs a stranger's victim milliseconds, and
			// every client of the last ten years knows one of these.
			KeyExchanges: []string{
				ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
				ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521,
			},
			Ciphers: ssh.SupportedAlgorithms().Ciphers,
			MACs:    []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512},
		},
		PublicKeyAuthAlgorithms:   ssh.SupportedAlgorithms().PublicKeyAuths, // without SHA-1 and DSA
		ServerVersion:             "SSH-2.0-pgo",
		MaxAuthTries:              l.server.limits.Tries,
		PublicKeyCallback:         l.offer,
		VerifiedPublicKeyCallback: l.prove,
		AuthLogCallback:           l.note,
	}
	config.AddHostKey(l.server.hostKey)
	return config
}

// offer judges a key that the client says it has. The client is told no more than yes or no.
func (l *login) offer(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if fingerprint := ssh.FingerprintSHA256(key); !slices.Contains(l.offered, fingerprint) && len(l.offered) < l.server.limits.Tries {
		l.offered = append(l.offered, fingerprint)
	}
	l.user = meta.User()
	bits := rsaBits(key)
	if bits > maxRSABits {
		if l.oversized++; l.oversized >= maxOversized {
			l.conn.Close()
		}
		return nil, fmt.Errorf("the RSA key has %d bits, more than %d", bits, maxRSABits)
	}
	if bits != 0 && bits < minRSABits {
		return nil, fmt.Errorf("the RSA key has %d bits, fewer than %d", bits, minRSABits)
	}
	if _, ok := key.(*ssh.Certificate); ok {
		return nil, errCertificate
	}
	if !l.server.backend.Knows(l.ctx, key) {
		return nil, errUnknownKey
	}
	return &ssh.Permissions{}, nil
}

// prove is called when the client has shown that it has the key.
func (l *login) prove(meta ssh.ConnMetadata, key ssh.PublicKey, _ *ssh.Permissions, _ string) (*ssh.Permissions, error) {
	return &ssh.Permissions{ExtraData: map[any]any{identityKey{}: Identity{
		User:        boundUser(meta.User()),
		Fingerprint: ssh.FingerprintSHA256(key),
		Key:         key,
		Remote:      meta.RemoteAddr(),
	}}}, nil
}

func (l *login) note(meta ssh.ConnMetadata, _ string, _ error) {
	l.tried = true
	l.user = meta.User()
}

// rsaBits returns the length of an RSA key, in a certificate or not, and 0 for other kinds.
func rsaBits(key ssh.PublicKey) int {
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	if k, ok := key.(ssh.CryptoPublicKey); ok {
		if k, ok := k.CryptoPublicKey().(*rsa.PublicKey); ok {
			return k.N.BitLen()
		}
	}
	return 0
}

// boundUser makes text of bounded size of what a client calls itself.
func boundUser(user string) string {
	return strings.ToValidUTF8(user[:min(len(user), maxUser)], "")
}
