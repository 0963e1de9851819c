package main

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"
)

// asking is held while somebody is asked: there is only one terminal.
var asking sync.Mutex

// askPassphrase asks for a passphrase and unlocks a key with it, on the terminal even if input
// and output are redirected.
func (l *keyLoader) askPassphrase(name string, text []byte) (ssh.Signer, error) {
	if l.batch {
		return nil, localErrorf("%s has a passphrase", name)
	}
	asking.Lock()
	defer asking.Unlock()
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, localErrorf("%s has a passphrase, and there is no terminal to ask for it: load the key into an SSH agent, or use one without", name)
	}
	defer tty.Close()
	l.pause()
	for range 3 {
		passphrase, err := readPassphrase(l.ctx, tty, "Passphrase for "+name+": ")
		if err != nil {
			return nil, localErrorf("cannot read the passphrase for %s: %w", name, err)
		}
		signer, err := ssh.ParsePrivateKeyWithPassphrase(text, passphrase)
		if !errors.Is(err, x509.IncorrectPasswordError) {
			return signer, err
		}
	}
	return nil, localErrorf("wrong passphrase for %s", name)
}

// readPassphrase returns when ctx ends, with the terminal as it was.
func readPassphrase(ctx context.Context, tty *os.File, prompt string) ([]byte, error) {
	if _, err := io.WriteString(tty, prompt); err != nil {
		return nil, err
	}
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	type answer struct {
		passphrase []byte
		err        error
	}
	answers := make(chan answer, 1)
	go func() {
		passphrase, err := term.ReadPassword(fd)
		answers <- answer{passphrase, err}
	}()
	select {
	case a := <-answers:
		_, _ = io.WriteString(tty, "\n") // the typed one is not echoed
		return a.passphrase, a.err
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), term.Restore(fd, before))
	}
}
