package sshd

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// LoadOrCreateHostKey reads the host's private key, and makes one if there is none yet. Clients
// know the host by this key. So a key that cannot be used is an error, for a person to look at,
// and never replaced.
func LoadOrCreateHostKey(path string) (ssh.Signer, error) {
	signer, err := loadHostKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return signer, err
	}
	if err := createHostKey(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("cannot make the host key %s: %w", path, err)
	}
	return loadHostKey(path) // the one that was there first, if two were made at once
}

func loadHostKey(path string) (ssh.Signer, error) {
	return loadKey("the host key", "and pgod makes a new one that clients have to accept", path)
}

// loadKey reads the private key that the errors call what. They tell what follows if it is removed.
func loadKey(what, then, path string) (ssh.Signer, error) {
	// Without O_NONBLOCK, pgod would wait for a named pipe in its place.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", what, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", what, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %s is not a regular file", what, path)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return nil, fmt.Errorf("%s %s may be used by others (mode %04o): "+
			"if nobody has, chmod 600 it; otherwise remove it, %s", what, path, info.Mode().Perm(), then)
	}
	text, err := io.ReadAll(io.LimitReader(file, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", what, err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s %s cannot be used: restore it from a backup, or remove it, %s: %w", what, path, then, err)
	}
	return signer, nil
}

// createHostKey writes a new key to a temporary file and links it to path once it is complete and
// on disk: link, unlike rename, never replaces.
func createHostKey(path string) error {
	text, err := newKey()
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, ".host_key-*") // with O_EXCL and mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// newKey returns a new private key as the text of a file.
func newKey() ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "pgo")
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(block), nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
