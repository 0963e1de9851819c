package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"pgo/internal/target"
)

// wantsTerminal reports whether the command gets a terminal on the host: when somebody sits at
// both ends of pgoctl, unless a flag says otherwise. The host reports what is wrong with the
// operation's flags.
func (c *client) wantsTerminal(args target.Args) bool {
	switch {
	case c.flags.noTTY || args.Has("--no-tty") || args.Has("--detach"):
		return false
	case c.flags.tty || args.Has("--tty"):
		return true
	}
	return isTerminal(c.own.in) && isTerminal(c.own.out)
}

// defaultSize is the size of a simulated terminal.
var defaultSize = size{80, 24}

type size struct{ columns, rows int }

// terminalSize returns the size of the terminal that pgoctl is used from, if there is one.
func (c *client) terminalSize() size {
	for _, stream := range []any{c.own.out, c.own.in, c.own.err} {
		if file, ok := stream.(*os.File); ok {
			if columns, rows, err := term.GetSize(int(file.Fd())); err == nil {
				return size{columns, rows}
			}
		}
	}
	return defaultSize
}

// lendTerminal has the host make a terminal that acts like pgoctl's own, until the returned
// function is called.
func (j *job) lendTerminal(session *ssh.Session) (giveBack func(), err error) {
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	now := j.terminalSize()
	if err := session.RequestPty(j.env("TERM"), now.rows, now.columns, nil); err != nil {
		signal.Stop(resized)
		return nil, fmt.Errorf("the host grants no terminal (%w); use -T to do without", err)
	}
	if err := j.raw.enter(j.own.in); err != nil {
		signal.Stop(resized)
		return nil, fmt.Errorf("cannot prepare the terminal: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer j.raw.guard()
		for {
			select {
			case <-resized:
				now := j.terminalSize()
				_ = session.WindowChange(now.rows, now.columns) // fails when the command has ended
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(resized)
		close(done)
		j.raw.leave()
	}, nil
}

// rawMode is the state of pgoctl's own terminal while each key goes to the host as a byte,
// including Ctrl-C. Whatever ends pgoctl leaves it first.
type rawMode struct {
	mu     sync.Mutex // guards what follows
	fd     int
	before *term.State // nil: the terminal is not raw
}

// enter does nothing to an input that is not a terminal.
func (r *rawMode) enter(input any) error {
	if !isTerminal(input) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.before != nil {
		return errors.New("it is in use")
	}
	fd := int(input.(*os.File).Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return err
	}
	r.fd, r.before = fd, before
	return nil
}

// entered reports whether keys go to the host.
func (r *rawMode) entered() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.before != nil
}

// leave restores the terminal.
func (r *rawMode) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.before != nil {
		_ = term.Restore(r.fd, r.before) // fails when the terminal is gone
		r.before = nil
	}
}

// guard is deferred by goroutines: a fault in one ends pgoctl.
func (r *rawMode) guard() {
	if fault := recover(); fault != nil {
		r.leave()
		panic(fault)
	}
}
