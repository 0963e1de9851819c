package sshd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
)

// testStranger returns a connection and its client's end.
func testStranger(t *testing.T, most int) (*strangerConn, net.Conn, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return &strangerConn{Conn: ours, visitor: &visitor{}, ctx: ctx, most: most, begun: make(chan struct{})}, theirs, cancel
}

// reads reads until so many bytes have arrived.
func (c *strangerConn) reads(t *testing.T, n int) {
	t.Helper()
	if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
		t.Fatalf("of %d bytes: %v", n, err)
	}
}

func TestStrangersSayLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client, _ := testStranger(t, 2000)
		go func() { _, _ = client.Write(append([]byte("SSH-2.0-x\r\n"), make([]byte, 3000)...)) }()
		c.reads(t, 2000)
		if c.visitor.progress.Load() != speaking {
			t.Error("its progress was not recorded")
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, errTooMuch) {
			t.Errorf("more than a login takes: %v", err)
		}
		c.loggedIn.Store(true)
		c.reads(t, 1000)

		c, client, _ = testStranger(t, 2000)
		go func() { _, _ = client.Write([]byte("SSHX")) }()
		if _, err := c.Read(make([]byte, 10)); !errors.Is(err, errNoSSH) {
			t.Errorf("another protocol: %v", err)
		}

		c, client, _ = testStranger(t, 2000)
		go func() { _, _ = io.Copy(io.Discard, client) }()
		for range maxWrites {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, errTooMuch) {
			t.Errorf("more answers than a login needs: %v", err)
		}
	})
}

// Between the key exchange and the first try a client has little to say, and what it says at the
// moment when that time ends is not lost.
func TestStrangersWaitForTheirFirstTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := func() (*strangerConn, context.CancelFunc, chan error) {
			c, client, cancel := testStranger(t, 10_000)
			go func() { _, _ = client.Write(append([]byte("SSH-"), bytes.Repeat([]byte("x"), 2000)...)) }()
			c.reads(t, 4)
			c.writes.Store(keysSent)
			c.reads(t, maxUnread)
			next := make(chan error, 1)
			go func() {
				_, err := c.Read(make([]byte, 100))
				next <- err
			}()
			synctest.Wait()
			if len(next) > 0 {
				t.Error("more is read than can be left unread")
			}
			return c, cancel, next
		}
		c, _, next := begin()
		close(c.begun)
		if err := <-next; err != nil {
			t.Errorf("when it may try: %v", err)
		}
		c.reads(t, 1000)
		_, cancel, next := begin()
		cancel()
		if err := <-next; !errors.Is(err, errTooMuch) {
			t.Errorf("when it may not: %v", err)
		}
	})
}
