package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"

	"pgo/internal/target"
)

// maxOffered is how many keys are tried in one connection: pgod closes it at the tenth that
// it does not know, without a word about the others.
const maxOffered = 9

// do carries out the command with the first key that may.
func (c *client) do(ctx context.Context, t target.Target) error {
	keys, err := c.loadKeys(ctx)
	if err != nil {
		return err
	}
	// Said when no key logs in. pgod says it itself to a key that may use other services only.
	var refusal error = &statusError{
		status:  target.StatusUnauthorized,
		message: []byte(target.Unauthorized(c.login, t.Service) + "\n"),
	}
	for len(keys) > 0 {
		batch := keys[:min(len(keys), maxOffered)]
		conn, used, err := c.connect(ctx, t.Host, batch)
		if errors.Is(err, errNoKeyKnown) {
			keys = keys[len(batch):]
			continue
		}
		if err != nil {
			return err
		}
		keys = keys[used+1:]
		err = c.carryOut(ctx, conn, t.Command, len(keys) > 0)
		if status := new(statusError); !errors.As(err, &status) || status.status != target.StatusUnauthorized {
			return err
		}
		refusal = err
	}
	return refusal
}

// carryOut runs a command and passes on what it prints. With another key to try, a refusal
// of this one is kept back.
func (c *client) carryOut(ctx context.Context, conn *ssh.Client, command target.Command, otherKeys bool) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // which ends the command, too
	defer stop()
	defer conn.Close()
	stderr := &refusalFilter{out: c.stderr, done: !otherKeys}
	err := runCommand(conn, command.Line(), c.stdout, stderr)
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), stderr.flush())
	}
	exit, refused, lost := new(ssh.ExitError), new(ssh.OpenChannelError), new(ssh.ExitMissingError)
	switch {
	case err == nil:
		return stderr.flush()
	case errors.As(err, &exit):
		return &statusError{status: exit.ExitStatus(), signal: exit.Signal(), message: stderr.held.Bytes()}
	case errors.As(err, &refused):
		return &statusError{status: target.StatusUnavailable, message: []byte(refused.Message + "\n")}
	case errors.As(err, &lost), errors.Is(err, io.EOF):
		return errors.New("the connection was lost; the host ends the command when it notices")
	default:
		return fmt.Errorf("cannot carry out the command: %w", err)
	}
}

func runCommand(conn *ssh.Client, line string, stdout, stderr io.Writer) error {
	session, err := conn.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	session.Stdout, session.Stderr = stdout, stderr
	return session.Run(line)
}

// refusalFilter passes on what is written, but keeps what may be the host's refusal of a key.
type refusalFilter struct {
	out  io.Writer
	held bytes.Buffer
	done bool // it is no refusal: nothing is kept any more
}

func (f *refusalFilter) Write(p []byte) (int, error) {
	if f.done {
		return f.out.Write(p)
	}
	f.held.Write(p)
	begin := f.held.String()
	n := min(len(begin), len(target.UnauthorizedPrefix))
	// The refusal is one line. More than that is a command's own.
	lines := strings.Count(begin, "\n")
	if begin[:n] == target.UnauthorizedPrefix[:n] && (lines == 0 && len(begin) < 1024 || lines == 1 && strings.HasSuffix(begin, "\n")) {
		return len(p), nil
	}
	return len(p), f.flush()
}

// flush writes what was kept, and keeps nothing from then on.
func (f *refusalFilter) flush() error {
	f.done = true
	_, err := f.held.WriteTo(f.out)
	return err
}
