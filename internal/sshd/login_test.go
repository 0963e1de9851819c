package sshd

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func TestOnlyKnownKeysLogIn(t *testing.T) {
	known := newSigner(t)
	ran := make(chan Identity, 1)
	h := startHost(t, backend{knows: knowing(known), run: func(_ context.Context, s Command) Exit {
		ran <- s.Identity
		return Exit{}
	}})

	// An agent offers all its keys; the right one may be the last.
	client, err := h.dial(t, newSigner(t), newSigner(t), known)
	if err != nil {
		t.Fatal(err)
	}
	if r := run(t, client, "pgo//ping"); r.err != nil {
		t.Fatal(r.err)
	}
	identity := receive(t, "the command runs", ran)
	if identity.User != "miek" || identity.Fingerprint != ssh.FingerprintSHA256(known.PublicKey()) ||
		identity.Remote.String() != client.LocalAddr().String() {
		t.Errorf("the command belongs to %+v", identity)
	}

	stranger := newSigner(t)
	if _, err := h.dial(t, stranger); err == nil {
		t.Error("a stranger's key logs in")
	}
	h.log.waitFor(t, "refused login", "127.0.0.1", "user=miek", ssh.FingerprintSHA256(stranger.PublicKey()))
	if strings.Count(h.log.String(), "refused login") != 1 {
		t.Error("there is more than one line for a refused login, or one for a login that worked")
	}
}

func TestTenKeysMayBeTried(t *testing.T) {
	known := newSigner(t)
	h := startHost(t, backend{knows: knowing(known)})
	var keys []ssh.Signer
	for range 9 {
		keys = append(keys, newSigner(t))
	}
	if _, err := h.dial(t, append(keys, known)...); err != nil {
		t.Errorf("the tenth key does not log in: %v", err)
	}
	if _, err := h.dial(t, append(keys, newSigner(t), known)...); err == nil {
		t.Error("the eleventh key logs in")
	}
}

func TestKeysThatNobodyIsAskedAbout(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	rsa2048 := newRSASigner(t, 2048)
	sha1, err := ssh.NewSignerWithAlgorithms(rsa2048.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		signer ssh.Signer
		says   string
	}{
		{"RSA, 1024 bits", mustSigner(ssh.NewSignerFromKey(small)), "RSA keys of less than 2048 bits"},
		{"RSA, 16 kbit", hugeSigner(t), "RSA keys of more than 8192 bits"},
		{"RSA with SHA-1", sha1, "refused login"},
		{"certificate", certificate(t), "certificates are not supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := startHost(t, backend{knows: func(context.Context, ssh.PublicKey) bool {
				t.Error("the backend was asked")
				return true
			}})
			if _, err := h.dial(t, c.signer); err == nil {
				t.Error("it logs in")
			}
			h.log.waitFor(t, "refused login", c.says)
		})
	}
	h := startHost(t, backend{})
	if _, err := h.dial(t, rsa2048); err != nil {
		t.Errorf("RSA with 2048 bits and SHA-2 does not log in: %v", err)
	}
}

// Whoever has one key that is too large may have others.
func TestAnOversizedKeyIsNotTheEnd(t *testing.T) {
	h := startHost(t, backend{})
	if _, err := h.dial(t, hugeSigner(t), newSigner(t)); err != nil {
		t.Errorf("the key after an oversized one does not log in: %v", err)
	}
	if _, err := h.dial(t, hugeSigner(t), hugeSigner(t), newSigner(t)); err == nil {
		t.Error("oversized keys can be offered again and again")
	}
}

func TestOnlyPublicKeysLogIn(t *testing.T) {
	h := startHost(t, backend{})
	asked := errors.New("password asked for")
	for _, method := range []ssh.AuthMethod{
		ssh.Password("secret"),
		ssh.PasswordCallback(func() (string, error) { return "", asked }),
		ssh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) { return nil, asked }),
	} {
		_, err := ssh.Dial("tcp", h.addr, &ssh.ClientConfig{
			User: "x", Auth: []ssh.AuthMethod{method}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: patience,
		})
		if err == nil || errors.Is(err, asked) || !strings.Contains(err.Error(), "attempted methods [none]") {
			t.Errorf("without a key: %v", err)
		}
	}
}

func TestUserNamesAreHarmless(t *testing.T) {
	ran := make(chan Identity, 1)
	known := newSigner(t)
	h := startHost(t, backend{knows: knowing(known), run: func(_ context.Context, s Command) Exit {
		ran <- s.Identity
		return Exit{}
	}})
	user := "a\n2024-01-01 [INFO] forged\x1b[2J" + strings.Repeat("ü", 100)
	dial := func(signer ssh.Signer) (*ssh.Client, error) {
		return ssh.Dial("tcp", h.addr, &ssh.ClientConfig{
			User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: patience,
		})
	}
	if _, err := dial(newSigner(t)); err == nil {
		t.Fatal("a stranger's key logs in")
	}
	client, err := dial(known)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if r := run(t, client, "pgo//ping"); r.err != nil {
		t.Fatal(r.err)
	}
	if got := receive(t, "the command runs", ran).User; len(got) > 64 || !strings.HasPrefix(user, got) || len(got) < 60 {
		t.Errorf("the user is called %q", got)
	}
	h.log.waitFor(t, "refused login", `\n2024-01-01 [INFO] forged`)
	h.log.waitFor(t, "command ended", `\n2024-01-01 [INFO] forged`)
	if strings.Contains(h.log.String(), "\x1b") || strings.Contains(h.log.String(), "\n2024-01-01 [INFO] forged") {
		t.Error("the user's name reached the log as it was")
	}
}

func TestHandshakeHasADeadline(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	h := startHost(t, backend{knows: func(ctx context.Context, _ ssh.PublicKey) bool {
		close(asked)
		<-ctx.Done() // a service that is starting, and does not come up in time
		return true
	}}, func(l *Limits) { l.Handshake = time.Second })

	silent, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ends(t, silent)

	if _, err := h.dial(t, newSigner(t)); err == nil {
		t.Error("a login that took too long worked")
	}
	receive(t, "the backend is asked", asked)
}

func TestLoginsAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	h := startHost(t, backend{}, func(l *Limits) { l.LoginsPerSource, l.Wait = 2, time.Second })
	var knocking []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// The server's version: it has begun to serve this connection.
		if _, err := io.ReadFull(conn, make([]byte, len("SSH-2.0-pgo"))); err != nil {
			t.Fatal(err)
		}
		knocking = append(knocking, conn)
	}
	if _, err := h.dial(t, newSigner(t)); err == nil {
		t.Fatal("a third connection was served")
	}
	h.log.waitFor(t, "refused connection: too many are logging in", "127.0.0.1")
	knocking[0].Close()
	// One that leaves makes room, and those that have logged in do not count.
	for range 4 {
		eventually(t, "there is room again", func() bool {
			_, err := h.dial(t, newSigner(t))
			return err == nil
		})
	}
}

func TestFaultWhileLoggingIn(t *testing.T) {
	first := true
	h := startHost(t, backend{knows: func(context.Context, ssh.PublicKey) bool {
		if first {
			first = false
			panic("nobody home")
		}
		return true
	}}, func(l *Limits) { l.Logins = 1 })
	if _, err := h.dial(t, newSigner(t)); err == nil {
		t.Error("a login that panicked worked")
	}
	h.log.waitFor(t, "a fault in pgo", "nobody home")
	eventually(t, "the next one logs in", func() bool {
		_, err := h.dial(t, newSigner(t))
		return err == nil
	})
}

func mustSigner(s ssh.Signer, err error) ssh.Signer {
	if err != nil {
		panic(err)
	}
	return s
}

func newRSASigner(t *testing.T, bits int) ssh.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return mustSigner(ssh.NewSignerFromKey(key))
}

// hugeSigner offers an RSA key of 16 kbit. It cannot sign, and is never asked to.
func hugeSigner(t *testing.T) ssh.Signer {
	t.Helper()
	n := make([]byte, 2048)
	if _, err := rand.Read(n); err != nil {
		t.Fatal(err)
	}
	n[0] |= 0x80
	n[2047] |= 1
	key, err := ssh.NewPublicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	return offering{key}
}

type offering struct{ key ssh.PublicKey }

func (o offering) PublicKey() ssh.PublicKey { return o.key }
func (o offering) Algorithms() []string     { return []string{ssh.KeyAlgoRSASHA512} }

func (o offering) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	return o.SignWithAlgorithm(r, data, "")
}

func (o offering) SignWithAlgorithm(io.Reader, []byte, string) (*ssh.Signature, error) {
	return nil, errors.New("the key is only for show")
}

func certificate(t *testing.T) ssh.Signer {
	t.Helper()
	holder := newSigner(t)
	cert := &ssh.Certificate{
		Key: holder.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"miek"}, ValidBefore: ssh.CertTimeInfinity,
	}
	if err := cert.SignCert(rand.Reader, newSigner(t)); err != nil {
		t.Fatal(err)
	}
	return mustSigner(ssh.NewCertSigner(cert, holder))
}
