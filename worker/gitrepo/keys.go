package gitrepo

import (
	"bytes"
	"crypto/rsa"
	"fmt"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"golang.org/x/crypto/ssh"
)

// Key is a public key that may use the service.
type Key struct {
	// Blob is the key in SSH's wire format.
	Blob []byte
	// File is where in the repository it is.
	File string
}

// Bounds of what a commit may have the server of keys remember.
const (
	maxKeyFile = 64 << 10
	maxKeys    = 1000
	maxIgnored = 100
	minRSABits = 2048
	maxRSABits = 8192    // more cannot log in: see sshd
	maxBlob    = 2 << 10 // more than that of RSA takes; all keys go in one message
)

// Keys returns the public keys in the commit's ssh/*.pub, and for what it did
// not take from there, why. It reads git objects; no checkout is looked at.
func (r *Repo) Keys(hash Hash) (keys []Key, ignored []string, err error) {
	store := r.store()
	defer store.close()
	c, err := commit(store, hash)
	if err != nil {
		return nil, nil, err
	}
	dir, err := find(store, Hash(c.TreeHash), "ssh")
	if err != nil {
		return nil, nil, unreadable(hash, err)
	}
	if dir == nil || dir.Mode != filemode.Dir {
		return nil, nil, nil
	}
	listing, err := object.GetTree(store, dir.Hash)
	if err != nil {
		return nil, nil, unreadable(hash, err)
	}
	var found keyring
	for _, e := range listing.Entries {
		if path.Ext(e.Name) != ".pub" {
			continue
		}
		file := "ssh/" + e.Name
		if len(e.Name) > maxName {
			found.ignore("%q is too long a name", file[:maxName])
			continue
		}
		if e.Mode != filemode.Regular && e.Mode != filemode.Executable {
			found.ignore("%q is no regular file", file)
			continue
		}
		size, err := store.EncodedObjectSize(e.Hash)
		if err != nil {
			return nil, nil, unreadable(hash, err)
		}
		if size > maxKeyFile {
			found.ignore("%q is larger than 64 KiB", file)
			continue
		}
		content, err := readBlob(store, Hash(e.Hash))
		if err != nil {
			return nil, nil, unreadable(hash, err)
		}
		found.addFile(file, content)
	}
	return found.keys, found.ignored, nil
}

type keyring struct {
	keys    []Key
	ignored []string
}

func (k *keyring) ignore(format string, args ...any) {
	switch {
	case len(k.ignored) < maxIgnored:
		k.ignored = append(k.ignored, fmt.Sprintf(format, args...))
	case len(k.ignored) == maxIgnored:
		k.ignored = append(k.ignored, "and more")
	}
}

func (k *keyring) addFile(file string, content []byte) {
	number := 0
	for line := range bytes.Lines(content) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		blob, why := parseKey(line)
		if why == "" && len(k.keys) == maxKeys {
			why = fmt.Sprintf("there are %d keys before it", maxKeys)
		}
		if why != "" {
			k.ignore("%q, line %d: %s", file, number, why)
			continue
		}
		k.keys = append(k.keys, Key{Blob: blob, File: file})
	}
}

// parseKey returns the key on a line, or why it is not taken.
func parseKey(line []byte) (blob []byte, why string) {
	key, _, options, _, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		if bytes.HasPrefix(line, []byte("ssh-dss ")) { // the library knows them no more
			return nil, "DSA keys are too weak; use ed25519"
		}
		return nil, "it is no public key"
	}
	if len(options) > 0 {
		// To ignore a restriction would be to widen it.
		return nil, "options before a key are not supported"
	}
	if key.Type() == ssh.KeyAlgoRSA {
		public, ok := key.(ssh.CryptoPublicKey).CryptoPublicKey().(*rsa.PublicKey)
		if !ok || public.N.BitLen() < minRSABits {
			return nil, fmt.Sprintf("RSA keys of less than %d bits are too weak; use ed25519", minRSABits)
		}
		if public.N.BitLen() > maxRSABits {
			return nil, fmt.Sprintf("RSA keys of more than %d bits are not accepted; use ed25519", maxRSABits)
		}
	}
	if _, ok := key.(*ssh.Certificate); ok || strings.Contains(key.Type(), "-cert-") {
		return nil, "certificates are not supported"
	}
	if blob = key.Marshal(); len(blob) > maxBlob {
		return nil, fmt.Sprintf("it takes more than %d bytes", maxBlob)
	}
	return blob, ""
}
