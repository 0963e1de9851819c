package supervisor

import (
	"sync"

	"golang.org/x/crypto/ssh"
)

// keyring is a set of public keys that not only its owner reads.
type keyring struct {
	mu       sync.Mutex      // guards what follows
	keys     map[string]bool // by wire form; never changed, only replaced
	replaced chan struct{}   // closed when keys is replaced; nil: nobody watches
}

// replace sets the keys that count, and wakes whoever watches.
func (k *keyring) replace(keys map[string]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = keys
	if k.replaced != nil {
		close(k.replaced)
		k.replaced = nil
	}
}

func (k *keyring) all() map[string]bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys
}

func (k *keyring) has(key ssh.PublicKey) bool { return k.all()[string(key.Marshal())] }

// watch reports whether the key is in the set, and returns a channel that is closed when the set
// is replaced.
func (k *keyring) watch(key ssh.PublicKey) (has bool, replaced <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.replaced == nil {
		k.replaced = make(chan struct{})
	}
	return k.keys[string(key.Marshal())], k.replaced
}
