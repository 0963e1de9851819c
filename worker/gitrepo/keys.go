package gitrepo

import (
	"fmt"
	"path"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"pgo/internal/pubkey"
)

// Key is a public key that may use the service.
type Key struct {
	// Blob is the key in SSH's wire format.
	Blob []byte
	// File is its path in the repository.
	File string
}

// Bounds of what a commit can make the server of keys remember.
const (
	maxKeyFile = 64 << 10
	maxKeys    = 1000
	maxIgnored = 100
)

// Keys returns the public keys in the commit's ssh/*.pub, and for each line or file there that it
// ignores, why. It reads git objects, not a checkout.
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
		named := path.Ext(e.Name) == ".pub"
		if !named && (len(e.Name) > maxName || e.Mode != filemode.Regular) {
			continue
		}
		file := "ssh/" + e.Name
		if len(e.Name) > maxName {
			found.ignore("%q is too long a name", file[:maxName])
			continue
		}
		if e.Mode != filemode.Regular && e.Mode != filemode.Executable {
			found.ignore("%q is not a regular file", file)
			continue
		}
		size, err := store.EncodedObjectSize(e.Hash)
		if err != nil {
			return nil, nil, unreadable(hash, err)
		}
		if size > maxKeyFile && !named {
			continue
		}
		if size > maxKeyFile {
			found.ignore("%q is larger than 64 KiB", file)
			continue
		}
		content, err := readBlob(store, Hash(e.Hash))
		if err != nil {
			return nil, nil, unreadable(hash, err)
		}
		if named {
			found.addFile(file, content)
		} else {
			found.lookAt(file, content)
		}
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

// lookAt looks at a file whose name says that it holds no public keys: for keys that count for
// nothing, and for private keys, which others can read there.
func (k *keyring) lookAt(file string, content []byte) {
	for _, entry := range pubkey.File(content) {
		switch {
		case entry.Err == pubkey.ErrPrivate:
			k.ignore("%q is a private key, and everybody who can read the repository has it; remove it, and make a new pair", file)
			return
		case entry.Key != nil:
			k.ignore("%q has a public key, but its name does not end in .pub; rename it", file)
			return
		}
	}
}

func (k *keyring) addFile(file string, content []byte) {
	for _, entry := range pubkey.File(content) {
		if entry.Err != nil {
			k.ignore("%q, line %d: %v", file, entry.Line, entry.Err)
		}
		switch {
		case entry.Key == nil:
		case len(k.keys) == maxKeys:
			k.ignore("%q, line %d: there are %d keys before it", file, entry.Line, maxKeys)
		default:
			k.keys = append(k.keys, Key{Blob: entry.Key.Marshal(), File: file})
		}
	}
}
