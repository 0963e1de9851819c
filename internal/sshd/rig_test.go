package sshd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"
)

// patience bounds every wait of these tests. Only a test that fails waits for so long.
const patience = 20 * time.Second

// backend is a Backend made of functions.
type backend struct {
	party Party                                             // the owner of all keys
	knows func(ctx context.Context, key ssh.PublicKey) bool // nil: every key
	run   func(ctx context.Context, s Command) Exit         // nil: status 0
}

func (b backend) Knows(ctx context.Context, key ssh.PublicKey) (Party, bool) {
	return b.party, b.knows == nil || b.knows(ctx, key)
}

func (b backend) Run(ctx context.Context, s Command) Exit {
	if b.run == nil {
		return Exit{}
	}
	return b.run(ctx, s)
}

// knowing returns a function for backend.knows that knows these keys.
func knowing(signers ...ssh.Signer) func(context.Context, ssh.PublicKey) bool {
	return func(_ context.Context, key ssh.PublicKey) bool {
		for _, s := range signers {
			if bytes.Equal(s.PublicKey().Marshal(), key.Marshal()) {
				return true
			}
		}
		return false
	}
}

// host is a Server that listens on a port of its own for as long as the test runs.
type host struct {
	*Server
	addr string
	log  *syncBuffer
}

func startHost(t *testing.T, b Backend, change ...func(*Limits)) *host {
	t.Helper()
	limits := DefaultLimits()
	for _, f := range change {
		f(&limits)
	}
	h := &host{log: &syncBuffer{}}
	h.Server = New(Options{
		HostKey: newSigner(t),
		Backend: b,
		Logger:  hclog.New(&hclog.LoggerOptions{Output: h.log, Level: hclog.Debug}),
		Limits:  limits,
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- h.Serve(context.Background(), listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Errorf("commands are still running at the end of the test: %v", err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(h.log)
		}
	})
	return h
}

// dial logs in with the keys, tried in this order.
func (h *host) dial(t *testing.T, signers ...ssh.Signer) (*ssh.Client, error) {
	t.Helper()
	client, err := ssh.Dial("tcp", h.addr, &ssh.ClientConfig{
		User:            "miek",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(signers...)},
		HostKeyCallback: ssh.FixedHostKey(h.hostKey.PublicKey()),
		BannerCallback: func(text string) error {
			t.Errorf("there is a banner: %q", text)
			return nil
		},
		Timeout: patience,
	})
	if err == nil {
		t.Cleanup(func() { client.Close() })
	}
	return client, err
}

func (h *host) mustDial(t *testing.T) *ssh.Client {
	t.Helper()
	client, err := h.dial(t, newSigner(t))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func newSession(t *testing.T, client *ssh.Client) *ssh.Session {
	t.Helper()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

// result is what a command left behind.
type result struct {
	stdout, stderr string
	err            error // *ssh.ExitError for all statuses but 0
}

func (r result) status(t *testing.T) int {
	t.Helper()
	if r.err == nil {
		return 0
	}
	exit, ok := r.err.(*ssh.ExitError)
	if !ok {
		t.Fatalf("the command ended without a status: %v", r.err)
	}
	return exit.ExitStatus()
}

func run(t *testing.T, client *ssh.Client, line string) result {
	t.Helper()
	session := newSession(t, client)
	var stdout, stderr bytes.Buffer
	session.Stdout, session.Stderr = &stdout, &stderr
	err := session.Run(line)
	return result{stdout.String(), stderr.String(), err}
}

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// syncBuffer is a log that is written and read at the same time.
type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// waitFor waits until a line of the log contains all the words, and returns it.
func (b *syncBuffer) waitFor(t *testing.T, words ...string) string {
	t.Helper()
	var found string
	eventually(t, "the log says "+strings.Join(words, " "), func() bool {
		for line := range strings.Lines(b.String()) {
			all := true
			for _, word := range words {
				all = all && strings.Contains(line, word)
			}
			if all {
				found = line
				return true
			}
		}
		return false
	})
	return found
}

// eventually waits until a condition holds, for those that cannot be signalled.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// receive waits for a value.
func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("timed out waiting until %s", what)
		panic("unreachable")
	}
}

// ends waits until the other side has closed the connection.
func ends(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Fatal("timed out waiting until the connection is closed")
	}
}
