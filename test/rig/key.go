package rig

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Key is an SSH key pair.
type Key struct {
	// File holds the private half, readable by root only.
	File string
	// PEM is the content of File, as a CI system would put it into PGOCTL_ID.
	PEM string
	// Public is the line for a repository's ssh/*.pub or an operator's list.
	Public string
	// Fingerprint is SHA256:…, as logs show it.
	Fingerprint string
}

// Key makes an ed25519 key pair without a passphrase; the name becomes its
// comment.
func (r *Rig) Key(name string) *Key {
	r.t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, name)
	if err != nil {
		r.t.Fatal(err)
	}
	sshPublic, err := ssh.NewPublicKey(public)
	if err != nil {
		r.t.Fatal(err)
	}
	key := &Key{
		File:        filepath.Join(r.Dir, "key-"+name),
		PEM:         string(pem.EncodeToMemory(block)),
		Public:      strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPublic))) + " " + name + "\n",
		Fingerprint: ssh.FingerprintSHA256(sshPublic),
	}
	r.write(key.File, key.PEM, 0o600)
	return key
}
