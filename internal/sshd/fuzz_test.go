package sshd

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"
)

// The steps of a script for FuzzConnection: each is a kind, a length, and as many bytes.
const (
	stepOpen    = iota // a channel of this type
	stepRequest        // on the first channel: a type, a zero byte, and the payload
	stepGlobal         // the same, of the connection
	stepPacket         // as it is
	steps
)

func step(kind byte, content string) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(content))), content...)
}

// play executes a script. It skips what it cannot interpret.
func play(c *rawClient, script []byte) {
	var channels uint32
	for len(script) >= 3 {
		kind, size := script[0], int(binary.BigEndian.Uint16(script[1:3]))
		content := script[3:min(3+size, len(script))]
		script = script[3+len(content):]
		name, payload, _ := bytes.Cut(content, []byte{0})
		wantReply := kind&0x80 != 0
		switch kind & 0x7f % steps {
		case stepOpen:
			_ = c.send(ssh.Marshal(struct {
				ID                     byte
				Kind                   string
				Number, Window, Packet uint32
			}{msgChannelOpen, string(content), channels, 1 << 20, 32 << 10}))
			channels++
		case stepRequest:
			_ = c.request(0, string(name), wantReply, payload)
		case stepGlobal:
			_ = c.send(ssh.Marshal(struct {
				ID        byte
				Kind      string
				WantReply bool
				Payload   []byte `ssh:"rest"`
			}{msgGlobalRequest, string(name), wantReply, payload}))
		case stepPacket:
			if len(content) > 0 {
				_ = c.send(content)
			}
		}
	}
}

// FuzzConnection has a client that has logged in send anything. The server may end the connection
// or go on, but nothing may break, and nothing may remain of it.
func FuzzConnection(f *testing.F) {
	request := func(kind string, payload []byte) []byte { return step(0x80|stepRequest, kind+"\x00"+string(payload)) }
	session := step(stepOpen, "session")
	ping, pty := request("exec", marshalText("pgo//ping")), request("pty-req", append(append(marshalText("xterm"), make([]byte, 16)...), marshalText("")...))
	for _, script := range [][]byte{
		{},
		bytes.Join([][]byte{session, ping}, nil),
		bytes.Join([][]byte{session, pty, request("window-change", make([]byte, 16)), request("exec", marshalText("pgo//exec db sh")), request("signal", marshalText("INT"))}, nil),
		bytes.Join([][]byte{session, request("env", append(marshalText("PGO_COLOR"), marshalText("x")...)), request("shell", nil), ping}, nil),
		bytes.Join([][]byte{session, session, request("subsystem", marshalText("sftp")), step(stepPacket, "\x5e\x00\x00\x00\x00\x00\x00\x00\x01x")}, nil),
		bytes.Join([][]byte{step(stepOpen, "direct-tcpip"), step(0x80|stepGlobal, "tcpip-forward\x00")}, nil),
		bytes.Join([][]byte{session, ping, step(stepPacket, "\x60\x00\x00\x00\x00"), step(stepPacket, "\x61\x00\x00\x00\x00")}, nil),
		step(stepPacket, "\x14"),
	} {
		f.Add(script)
	}
	h := &host{log: &syncBuffer{}}
	h.Server = New(Options{
		HostKey: newSigner(f),
		Backend: backend{run: func(_ context.Context, s Command) Exit {
			fmt.Fprintln(s.Stdout, s.Command.Operation)
			if s.Stdin != nil {
				_, _ = io.CopyN(s.Stdout, s.Stdin, 1)
			}
			return Exit{}
		}},
		Logger: hclog.New(&hclog.LoggerOptions{Output: h.log, Level: hclog.Error}),
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	go func() { _ = h.Serve(context.Background(), listener) }()
	f.Cleanup(func() { _ = h.Shutdown(context.Background()) })
	key := newSigner(f)
	f.Fuzz(func(t *testing.T, script []byte) {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		c, err := newRawClient(conn)
		if err == nil {
			err = c.login(key)
		}
		if err != nil {
			t.Fatal(err)
		}
		play(c, script)
		_ = conn.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Error("the connection does not end")
		}
		eventually(t, "nothing is counted as open", h.idle)
		if log := h.log.String(); log != "" {
			t.Error(log)
		}
	})
}

func FuzzTerminal(f *testing.F) {
	f.Add(append(append(marshalText("xterm-256color"), make([]byte, 16)...), marshalText("\x00")...))
	f.Add(append(marshalText("x\x1b[2J"), bytes.Repeat([]byte{0xff}, 20)...))
	f.Add(bytes.Repeat([]byte{0xff}, 16))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if terminal, ok := parseTerminal(payload); ok {
			if w := terminal.Window(); w.Columns > maxWindow || w.Rows > maxWindow {
				t.Errorf("a terminal of %+v", w)
			}
			if len(terminal.Type) > 64 || terminal.Type == "" || strings.ContainsFunc(terminal.Type, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("a terminal of type %q", terminal.Type)
			}
		}
		if w, ok := parseWindow(payload); ok && !bytes.Equal(ssh.Marshal(w), payload[:8]) {
			t.Errorf("a window of %+v", w)
		}
	})
}
