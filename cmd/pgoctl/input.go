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

// passInput sends pgoctl's input to a command. A read that is pending when the command has ended
// is left alone: nobody needs its result.
func (j *job) passInput(stdin io.WriteCloser, fail context.CancelCauseFunc) {
	defer j.raw.guard()
	source := &source{in: j.own.in}
	_, _ = io.Copy(stdin, source) // writing fails when the command has ended
	if source.err != nil {
		// To the command, the end of a failed input would look like the end of all of it.
		fail(fmt.Errorf("cannot read the input: %w", source.err))
		return
	}
	_ = stdin.Close()
}

// passSignals sends pgoctl's next signal to the command that a session runs, as soon as it runs,
// until the returned function is called. On a raw terminal Ctrl-C is an ordinary byte, and a
// signal is for pgoctl.
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

// source remembers why reading failed, if it did.
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
