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

// maxOffered is how many keys are tried in one connection: pgod closes it at the tenth that it
// does not know, without a word about the others.
const maxOffered = 9

// job is one command on one host.
type job struct {
	*client
	console // of this host
	place
	command target.Command
	input   bool // the command gets pgoctl's input
	tty     bool // the command gets a terminal
	colors  bool // colours in its output are visible
	several bool // others run on other hosts
}

// do carries out the command with the first key that may.
func (j *job) do(ctx context.Context) error {
	return j.withKeys(ctx, func(conn *ssh.Client, otherKeys bool) error {
		return j.carryOut(ctx, conn, otherKeys)
	})
}

// say shows what pgoctl waits for.
func (j *job) say(text string) {
	if !j.several {
		j.progress.say(text)
	}
}

// withKeys logs in with one key after the other, until f ends with something other than the
// host's refusal of the key. It tells f whether there is another key to try.
func (j *job) withKeys(ctx context.Context, f func(conn *ssh.Client, otherKeys bool) error) error {
	keys, err := j.keysFor(j.place)
	if err != nil {
		return err
	}
	// Reported when no key logs in. pgod itself reports it to a key that may use other services
	// only.
	var refusal error = &statusError{
		status:  target.StatusUnauthorized,
		message: []byte(target.Unauthorized(j.login, j.command.Service) + "\n"),
	}
	for len(keys) > 0 {
		batch := keys[:min(len(keys), maxOffered)]
		conn, used, err := j.connect(ctx, batch)
		if errors.Is(err, errNoKeyKnown) {
			keys = keys[len(batch):]
			continue
		}
		if err != nil {
			return err
		}
		keys = keys[used+1:]
		if err = f(conn, len(keys) > 0); !isUnauthorized(err) {
			return err
		}
		refusal = err
	}
	return refusal
}

func isUnauthorized(err error) bool {
	status := new(statusError)
	return errors.As(err, &status) && status.status == target.StatusUnauthorized
}

// carryOut runs the command and passes on its output. If there is another key to try, it holds
// back a refusal of this one.
func (j *job) carryOut(ctx context.Context, conn *ssh.Client, otherKeys bool) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // this also ends the command
	defer stop()
	defer conn.Close()
	if j.input && otherKeys {
		// Input that this key's command has read would be lost for the next key's.
		if err := j.ask(conn); isUnauthorized(err) {
			return err
		}
		otherKeys = false
	}
	stdout := &outlet{out: j.stdout, stop: j.stop, fail: fail}
	stderr := &refusalFilter{out: &outlet{out: j.stderr, stop: j.stop, fail: fail}, done: !otherKeys}
	err := j.converse(ctx, conn, stdout, stderr, fail)
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), stderr.flush())
	}
	if err == nil {
		return stderr.flush()
	}
	return explain(err, stderr.held.Bytes())
}

// explain returns why a command failed. The message is what it has printed about that.
func explain(err error, message []byte) error {
	exit, refused, lost := new(ssh.ExitError), new(ssh.OpenChannelError), new(ssh.ExitMissingError)
	switch {
	case errors.As(err, &exit):
		return &statusError{status: exit.ExitStatus(), signal: exit.Signal(), message: message}
	case errors.As(err, &refused):
		return &statusError{status: target.StatusUnavailable, message: []byte(refused.Message + "\n")}
	case errors.As(err, &lost), errors.Is(err, io.EOF):
		return errors.New("the connection was lost; the host ends the command when it notices")
	default:
		return fmt.Errorf("cannot carry out the command: %w", err)
	}
}

// ask finds out whether the key may use the service at all.
func (j *job) ask(conn *ssh.Client) error {
	session, err := conn.NewSession()
	if err != nil {
		return explain(err, nil)
	}
	defer session.Close()
	var stderr bytes.Buffer
	session.Stderr = &stderr
	if err := session.Run(target.Command{Service: j.command.Service, Operation: "ping"}.Line()); err != nil {
		return explain(err, stderr.Bytes())
	}
	return nil
}

// converse runs the command with its input and terminal. fail ends it with a reason of pgoctl's
// own.
func (j *job) converse(ctx context.Context, conn *ssh.Client, stdout, stderr io.Writer, fail context.CancelCauseFunc) error {
	session, err := conn.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	session.Stdout, session.Stderr = stdout, stderr
	if j.colors {
		// Nobody waits for an answer: a host that knows no colours shows none.
		variable := struct{ Name, Value string }{"PGO_COLOR", "always"}
		if _, err := session.SendRequest("env", false, ssh.Marshal(variable)); err != nil {
			return err
		}
	}
	if j.tty || j.input && isTerminal(j.own.in) {
		j.progress.stop() // it is the command's terminal now, or typed text appears there
	} else {
		j.say("waiting for " + j.name + "…")
	}
	if j.tty {
		restore, err := j.lendTerminal(session)
		if err != nil {
			return err
		}
		defer restore()
	}
	if !j.input {
		return session.Run(j.command.Line())
	}
	stdin, err := session.StdinPipe()
	if err != nil {
		return err
	}
	runs := make(chan struct{})
	defer j.passSignals(ctx, session, runs)()
	if err := session.Start(j.command.Line()); err != nil {
		return err
	}
	close(runs)
	go j.passInput(stdin, fail)
	return session.Wait()
}

// outlet passes on what a host prints. When that fails, nobody needs any more of it.
type outlet struct {
	out  io.Writer
	stop context.CancelCauseFunc // ends the run
	fail context.CancelCauseFunc // ends this host's part of it
}

func (o *outlet) Write(p []byte) (int, error) {
	n, err := o.out.Write(p)
	switch {
	case err == nil:
	case isNotJSON(err):
		o.fail(err)
	default:
		err = &outputError{fmt.Errorf("cannot write what the host prints: %w", err)}
		o.stop(err)
	}
	return n, err
}

// refusalFilter passes on what is written, but holds back what may be the host's refusal of a
// key.
type refusalFilter struct {
	out  io.Writer
	held bytes.Buffer
	done bool // it is not a refusal: nothing more is held back
}

func (f *refusalFilter) Write(p []byte) (int, error) {
	if f.done {
		return f.out.Write(p)
	}
	f.held.Write(p)
	begin := f.held.String()
	n := min(len(begin), len(target.UnauthorizedPrefix))
	// The refusal is one line. Anything longer is the command's own.
	lines := strings.Count(begin, "\n")
	if begin[:n] == target.UnauthorizedPrefix[:n] && (lines == 0 && len(begin) < 1024 || lines == 1 && strings.HasSuffix(begin, "\n")) {
		return len(p), nil
	}
	return len(p), f.flush()
}

// flush writes what was held back, and holds back nothing from then on.
func (f *refusalFilter) flush() error {
	f.done = true
	_, err := f.held.WriteTo(f.out)
	return err
}
