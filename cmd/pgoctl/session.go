package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"

	"pgo/internal/target"
)

// maxOffered is how many keys are tried in one connection: pgod closes it at the tenth that
// it does not know, without a word about the others.
const maxOffered = 9

// errNoKeyKnown is how connect says that the host knows none of the keys.
var errNoKeyKnown = errors.New("the host knows none of the keys")

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

// connect logs in with the first of the keys that the host knows, and returns which it was.
func (c *client) connect(ctx context.Context, host string, keys []*key) (conn *ssh.Client, used int, err error) {
	address := net.JoinHostPort(host, strconv.Itoa(int(c.port)))
	hosts, err := c.loadHosts()
	if err != nil {
		return nil, 0, err
	}
	bounded, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("cannot connect to %s within %v; a longer --timeout waits longer", address, c.timeout))
	defer cancel()
	raw, err := new(net.Dialer).DialContext(bounded, "tcp", address)
	if err != nil {
		return nil, 0, connectError(bounded, address, err)
	}
	stop := context.AfterFunc(bounded, func() { _ = raw.Close() })
	defer stop()
	signers := make([]ssh.Signer, len(keys))
	for i, k := range keys {
		k.used = false
		signers[i] = k
	}
	algorithms := ssh.SupportedAlgorithms()
	sc, channels, requests, err := ssh.NewClientConn(raw, address, &ssh.ClientConfig{
		Config:            ssh.Config{KeyExchanges: algorithms.KeyExchanges, Ciphers: algorithms.Ciphers, MACs: algorithms.MACs},
		User:              c.login,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signers...)},
		ClientVersion:     "SSH-2.0-pgoctl",
		HostKeyCallback:   hosts.check,
		HostKeyAlgorithms: hosts.algorithms(address, algorithms.HostKeys),
	})
	switch {
	case err == nil:
		conn = ssh.NewClient(sc, channels, requests)
		used := slices.IndexFunc(keys, func(k *key) bool { return k.used })
		if used < 0 {
			return nil, 0, errors.Join(fmt.Errorf("%s lets anybody in: it is no pgod", address), conn.Close())
		}
		return conn, used, nil
	case strings.Contains(err.Error(), "unable to authenticate"): // the library has no type for it
		return nil, 0, errNoKeyKnown
	default:
		return nil, 0, loginError(bounded, address, err)
	}
}

// connectError and loginError say why there is no connection in words for people.
func connectError(ctx context.Context, address string, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("cannot connect to %s: nothing listens there; is pgod running, and is it the right port (-p)?", address)
	default:
		return fmt.Errorf("cannot connect to %s: %w", address, err)
	}
}

func loginError(ctx context.Context, address string, err error) error {
	var told *localError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &told):
		return told
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("cannot log in to %s: the host closed the connection; too many may be logging in, or it is no pgod", address)
	default:
		return fmt.Errorf("cannot log in to %s: %w", address, err)
	}
}

// localError is a reason of our own not to go on with a login. It comes back through the SSH
// library, whose words around it help nobody.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

func localErrorf(format string, args ...any) error {
	return &localError{fmt.Errorf(format, args...)}
}

// carryOut runs a command and passes on what it prints. With another key to try, a refusal
// of this one is kept back.
func (c *client) carryOut(ctx context.Context, conn *ssh.Client, command target.Command, otherKeys bool) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // which ends the command, too
	defer stop()
	defer conn.Close()
	stderr := &refusalFilter{out: c.stderr, done: !otherKeys}
	err := runCommand(conn, command.Line(), c.stdout, stderr)
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), stderr.flush())
	}
	exit, refused := new(ssh.ExitError), new(ssh.OpenChannelError)
	switch {
	case err == nil:
		return stderr.flush()
	case errors.As(err, &exit):
		return &statusError{status: exit.ExitStatus(), signal: exit.Signal(), message: stderr.held.Bytes()}
	case errors.As(err, &refused):
		return &statusError{status: target.StatusUnavailable, message: []byte(refused.Message + "\n")}
	default:
		return fmt.Errorf("the connection was lost before the command ended: %w", err)
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
