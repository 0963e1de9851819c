package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// passInput sends what pgoctl reads to a command. A read that waits when the command has
// ended is left alone: what it returns, nobody needs.
func (j *job) passInput(stdin io.WriteCloser, fail context.CancelCauseFunc) {
	defer j.raw.guard()
	source := &source{in: j.own.in}
	_, _ = io.Copy(stdin, source) // writing fails when the command has ended
	if source.err != nil {
		// Its end would look to the command as if this had been all.
		fail(fmt.Errorf("cannot read the input: %w", source.err))
		return
	}
	_ = stdin.Close()
}

// passSignals has the command that a session runs get pgoctl's next signal, as soon as it
// runs, until the function that is returned is called. On a raw terminal Ctrl-C is a byte
// among others, and a signal is for pgoctl.
func (j *job) passSignals(ctx context.Context, session *ssh.Session, runs <-chan struct{}) (stop func()) {
	if j.raw.entered() {
		return func() {}
	}
	return j.signals.divert(func(number syscall.Signal) {
		defer j.raw.guard()
		select {
		case <-runs:
			name := strings.TrimPrefix(unix.SignalName(number), "SIG")
			_ = session.Signal(ssh.Signal(name)) // fails when the command has ended
		case <-ctx.Done():
		}
	})
}

// source remembers why reading has failed, if it has.
type source struct {
	in  io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
