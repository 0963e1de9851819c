package main

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
)

// front is in front of a host, turns away the first clients, and connects the others to it.
func (w *world) front(turnedAway int) (port string) {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	w.t.Cleanup(func() { listener.Close() })
	host := "127.0.0.1:" + w.port
	go func() {
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if n < turnedAway {
				conn.Close()
				continue
			}
			inside, err := net.Dial("tcp", host)
			if err != nil {
				conn.Close()
				return
			}
			go func() {
				defer conn.Close()
				go func() { _, _ = io.Copy(inside, conn) }()
				_, _ = io.Copy(conn, inside)
			}()
		}
	}()
	_, port, err = net.SplitHostPort(listener.Addr().String())
	w.must(err)
	return port
}

// A host with too many logins in progress is tried again, but not for ever.
func TestHostsThatTurnAwayAreTriedAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		turnedAway, exit int
		says             string
	}{
		{maxTries - 1, 0, "pong!\n"},
		{maxTries, 255, "the host closed the connection; too many may be logging in, or it is not a pgod\n"},
	} {
		w := newWorld(t)
		port := w.front(c.turnedAway)
		w.write(".config/pgo/known_hosts", strings.ReplaceAll(w.read(".config/pgo/known_hosts"), ":"+w.port, ":"+port))
		w.port = port
		var output bytes.Buffer
		command := w.command(at("pgo", "ping")...)
		command.Stdout, command.Stderr = &output, &output
		if err := command.Run(); command.ProcessState.ExitCode() != c.exit || !strings.HasSuffix(output.String(), c.says) {
			t.Errorf("%d connections were closed: %v, %q", c.turnedAway, err, &output)
		}
	}
}
