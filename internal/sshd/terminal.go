package sshd

import (
	"bytes"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Window is the size of a terminal, in characters.
type Window struct{ Columns, Rows uint32 }

// Terminal is the terminal of a client. The client itself turns keys into input and shows the
// output; only its type and its size are known here.
type Terminal struct {
	Type string // for TERM, at most 64 bytes of printable ASCII

	mu     sync.Mutex // guards window
	window Window

	resized chan struct{} // holds one if the window has changed since somebody looked
}

// maxWindow bounds columns and rows: a larger one is not a terminal.
const maxWindow = 1 << 12

func newTerminal(kind string, w Window) *Terminal {
	t := &Terminal{Type: "dumb", resized: make(chan struct{}, 1)}
	if isTerminalType(kind) {
		t.Type = kind
	}
	t.resize(w)
	return t
}

func isTerminalType(s string) bool {
	const most = 64
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= most
}

func (t *Terminal) resize(w Window) {
	t.mu.Lock()
	t.window = Window{min(w.Columns, maxWindow), min(w.Rows, maxWindow)}
	t.mu.Unlock()
	select {
	case t.resized <- struct{}{}:
	default:
	}
}

// Window returns the size that the terminal has now.
func (t *Terminal) Window() Window {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.window
}

// Resized returns a channel that receives once after Window may have changed.
func (t *Terminal) Resized() <-chan struct{} { return t.resized }

// parseTerminal reads the payload of a pty-req, RFC 4254 section 6.2.
func parseTerminal(payload []byte) (*Terminal, bool) {
	var p struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	if err := ssh.Unmarshal(payload, &p); err != nil {
		return nil, false
	}
	return newTerminal(p.Term, Window{p.Columns, p.Rows}), true
}

// parseWindow reads the payload of a window-change, RFC 4254 section 6.7.
func parseWindow(payload []byte) (Window, bool) {
	var p struct{ Columns, Rows, Width, Height uint32 }
	err := ssh.Unmarshal(payload, &p)
	return Window{p.Columns, p.Rows}, err == nil
}

// lines writes to a terminal that its client has made raw, as clients do when they are granted
// one: each line needs a carriage return.
type lines struct {
	out io.Writer
	cr  bool // the last byte written was a carriage return
}

func (l *lines) Write(b []byte) (int, error) {
	out := make([]byte, 0, len(b)+bytes.Count(b, []byte{'\n'}))
	for _, c := range b {
		if c == '\n' && !l.cr {
			out = append(out, '\r')
		}
		out = append(out, c)
		l.cr = c == '\r'
	}
	if _, err := l.out.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// interrupt is the byte that Ctrl-C sends on a raw terminal.
const interrupt = 0x03

// discard reads to the end what nobody wants, and calls interrupted at each Ctrl-C.
func discard(r io.Reader, interrupted func()) {
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		if bytes.IndexByte(buf[:n], interrupt) >= 0 {
			interrupted()
		}
		if err != nil {
			return
		}
	}
}
