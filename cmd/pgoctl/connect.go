package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"pgo/internal/backoff"
	"pgo/internal/nearest"
	"pgo/internal/wait"
)

// errNoKeyKnown means that the host knows none of the keys.
var errNoKeyKnown = errors.New("the host knows none of the keys")

// errTurnedAway means that the host does not accept a login now.
var errTurnedAway = errors.New("the host closed the connection; too many may be logging in, or it is not a pgod")

// maxTries is how often pgoctl tries a host that closes the connection at once.
const maxTries = 5

// turnedAwayDelays are the pauses between the tries. The jitter spreads clients that were turned
// away together.
var turnedAwayDelays = backoff.Delays{First: 100 * time.Millisecond, Last: time.Second, Jitter: 0.5}

// connect logs in with the first of the keys that the host knows, and returns which it was. A
// host that closes the connection before it has shown its key has too many logins in progress:
// connect tries again.
func (j *job) connect(ctx context.Context, keys []*key) (*ssh.Client, int, error) {
	hosts, err := j.loadKnownHosts()
	if err != nil {
		return nil, 0, err
	}
	select {
	case j.logins <- struct{}{}:
		defer func() { <-j.logins }()
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
	timeout := j.flags.timeout
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("cannot connect to %s within %v; use a longer --timeout", j.address(), timeout))
	defer cancel()
	j.say("connecting to " + j.name + "…")
	var tries backoff.Failures
	for try := 1; ; try++ {
		conn, used, err := j.tryToConnect(ctx, hosts, keys)
		if !errors.Is(err, errTurnedAway) || try == maxTries || ctx.Err() != nil {
			return conn, used, err
		}
		if err := wait.For(ctx, tries.Next(turnedAwayDelays)); err != nil {
			return nil, 0, err
		}
	}
}

func (j *job) tryToConnect(ctx context.Context, hosts *knownHosts, keys []*key) (*ssh.Client, int, error) {
	address := j.address()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, 0, j.connectError(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	offers := make([]*offer, len(keys))
	signers := make([]ssh.Signer, len(keys))
	for i, k := range keys {
		offers[i] = &offer{key: k}
		signers[i] = offers[i]
	}
	shown := false // the host's key
	algorithms := ssh.SupportedAlgorithms()
	sc, channels, requests, err := ssh.NewClientConn(raw, address, &ssh.ClientConfig{
		Config:        ssh.Config{KeyExchanges: algorithms.KeyExchanges, Ciphers: algorithms.Ciphers, MACs: algorithms.MACs},
		User:          j.login,
		Auth:          []ssh.AuthMethod{ssh.PublicKeys(signers...)},
		ClientVersion: "SSH-2.0-pgoctl",
		HostKeyCallback: func(address string, remote net.Addr, key ssh.PublicKey) error {
			shown = true
			return hosts.check(address, remote, key)
		},
		HostKeyAlgorithms: hosts.algorithms(address, algorithms.HostKeys),
	})
	switch {
	case err == nil:
		conn := ssh.NewClient(sc, channels, requests)
		used := slices.IndexFunc(offers, func(o *offer) bool { return o.used })
		if used < 0 {
			return nil, 0, errors.Join(fmt.Errorf("%s lets anyone in: it is not a pgod", address), conn.Close())
		}
		return conn, used, nil
	case strings.Contains(err.Error(), "unable to authenticate"): // the library has no type for it
		return nil, 0, errNoKeyKnown
	default:
		return nil, 0, loginError(ctx, address, shown, err)
	}
}

// connectError and loginError say why there is no connection in words for people.
func (j *job) connectError(ctx context.Context, err error) error {
	address, unknown := j.address(), new(net.DNSError)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("cannot connect to %s: nothing listens there; is pgod running, and is it the right port (-p)?", address)
	case errors.As(err, &unknown):
		if unknown.IsNotFound {
			err = errors.New("there is no host of this name")
		}
		hint := ""
		if near, ok := nearest.Word(j.name, j.hosts.names()); ok {
			hint = fmt.Sprintf("; did you mean %s of %s?", near, j.hosts.path)
		}
		return fmt.Errorf("cannot connect to %s: %w%s", address, err, hint)
	default:
		return fmt.Errorf("cannot connect to %s: %w", address, err)
	}
}

func loginError(ctx context.Context, address string, shown bool, err error) error {
	var told *localError
	closed := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &told):
		return told
	case closed && !shown:
		return fmt.Errorf("cannot log in to %s: %w", address, errTurnedAway)
	case closed:
		return fmt.Errorf("cannot log in to %s: the host closed the connection", address)
	default:
		return fmt.Errorf("cannot log in to %s: %w", address, err)
	}
}

// localError is a reason of pgoctl's own to break off a login. It comes back through the SSH
// library, whose words around it help nobody.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

func localErrorf(format string, args ...any) error {
	return &localError{fmt.Errorf(format, args...)}
}
