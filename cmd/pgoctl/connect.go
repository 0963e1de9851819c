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

	"golang.org/x/crypto/ssh"

	"pgo/internal/nearest"
)

// errNoKeyKnown is how connect says that the host knows none of the keys.
var errNoKeyKnown = errors.New("the host knows none of the keys")

// connect logs in with the first of the keys that the host knows, and returns which it was.
func (j *job) connect(ctx context.Context, keys []*key) (*ssh.Client, int, error) {
	address, timeout := j.address(), j.flags.timeout
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
	bounded, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("cannot connect to %s within %v; a longer --timeout waits longer", address, timeout))
	defer cancel()
	j.say("connecting to " + j.name + "…")
	raw, err := new(net.Dialer).DialContext(bounded, "tcp", address)
	if err != nil {
		return nil, 0, j.connectError(bounded, err)
	}
	stop := context.AfterFunc(bounded, func() { raw.Close() })
	defer stop()
	offers := make([]*offer, len(keys))
	signers := make([]ssh.Signer, len(keys))
	for i, k := range keys {
		offers[i] = &offer{key: k}
		signers[i] = offers[i]
	}
	algorithms := ssh.SupportedAlgorithms()
	sc, channels, requests, err := ssh.NewClientConn(raw, address, &ssh.ClientConfig{
		Config:            ssh.Config{KeyExchanges: algorithms.KeyExchanges, Ciphers: algorithms.Ciphers, MACs: algorithms.MACs},
		User:              j.login,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signers...)},
		ClientVersion:     "SSH-2.0-pgoctl",
		HostKeyCallback:   hosts.check,
		HostKeyAlgorithms: hosts.algorithms(address, algorithms.HostKeys),
	})
	switch {
	case err == nil:
		conn := ssh.NewClient(sc, channels, requests)
		used := slices.IndexFunc(offers, func(o *offer) bool { return o.used })
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
