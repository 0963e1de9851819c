package supervisor

import (
	"sync"

	"golang.org/x/crypto/ssh"
)

// keyring is a set of public keys that others than its owner look into.
type keyring struct {
	mu       sync.Mutex      // guards what follows
	keys     map[string]bool // by wire form; never changed, only replaced
	replaced chan struct{}   // closed when keys is replaced; nil: nobody has looked
}

// replace makes these the keys that count, and wakes whoever watches.
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

// watch reports whether the key is among them, and when to ask again.
func (k *keyring) watch(key ssh.PublicKey) (has bool, replaced <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.replaced == nil {
		k.replaced = make(chan struct{})
	}
	return k.keys[string(key.Marshal())], k.replaced
}
