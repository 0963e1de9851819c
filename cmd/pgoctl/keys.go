package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"pgo/internal/pubkey"
)

// key is a private key to log in with. One with a passphrase is unlocked when the host has said
// that it knows the key.
type key struct {
	public ssh.PublicKey
	locked bool                       // by a passphrase, which somebody has to type
	unlock func() (ssh.Signer, error) // safe for use by several goroutines
}

func (k *key) same(other *key) bool {
	return bytes.Equal(k.public.Marshal(), other.public.Marshal())
}

func keyOf(signer ssh.Signer) *key {
	return &key{public: signer.PublicKey(), unlock: func() (ssh.Signer, error) { return signer, nil }}
}

// offer is a key as one connection offers it.
type offer struct {
	*key
	used bool // the host knows it, and wants to see a signature
}

func (o *offer) PublicKey() ssh.PublicKey { return o.public }

func (o *offer) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return o.SignWithAlgorithm(rand, data, "")
}

func (o *offer) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	o.used = true
	signer, err := o.unlock()
	if err != nil {
		return nil, err
	}
	if s, ok := signer.(ssh.AlgorithmSigner); ok && algorithm != "" {
		return s.SignWithAlgorithm(rand, data, algorithm)
	}
	return signer.Sign(rand, data)
}

// keyring has the keys that were loaded already. Each is loaded, and its passphrase asked for,
// once, however many hosts it is for.
type keyring struct {
	mu     sync.Mutex // held while somebody is asked
	loaded map[string][]*key
}

// keysFor returns the keys to try on a host.
func (c *client) keysFor(p place) ([]*key, error) {
	c.keys.mu.Lock()
	defer c.keys.mu.Unlock()
	dir := p.dirHere()
	names := strings.Join(append([]string{dir}, p.identities...), "\x00")
	if keys, ok := c.keys.loaded[names]; ok {
		return keys, nil
	}
	keys, err := c.loadKeys(p.identities, dir)
	if c.batch {
		keys = slices.DeleteFunc(keys, func(k *key) bool { return k.locked })
	}
	if err == nil {
		if c.keys.loaded == nil {
			c.keys.loaded = map[string][]*key{}
		}
		c.keys.loaded[names] = keys
	}
	return keys, err
}

// keyLoader finds keys to log in with.
type keyLoader struct {
	ctx    context.Context // of the whole run: to stop asking for a passphrase
	env    func(string) string
	batch  bool                   // nobody can be asked for a passphrase
	pause  func()                 // called before somebody is asked for a passphrase
	agents func() ([]*key, error) // the SSH agent's; it is asked once, and only if needed
}

// loadKeys returns the keys to try, in this order: only those given by -i, or only that of
// PGOCTL_ID, or the SSH agent's, those with the usual names; without any, root's own for the pgod with
// that directory on this host.
func (c *client) loadKeys(identities []string, dir string) ([]*key, error) {
	l := &keyLoader{ctx: c.ctx, env: c.env, pause: c.progress.stop, batch: c.batch}
	l.agents = sync.OnceValues(l.askAgent)
	if len(identities) == 0 {
		if id := c.env("PGOCTL_ID"); id != "" {
			k, err := l.environment(id)
			return []*key{k}, err
		}
		return l.usual(dir)
	}
	var keys []*key
	for _, file := range identities {
		k, err := l.file(file)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// usual returns the keys that are used without being named. Root's own is used only if there is no
// other: whoever has a key of a service is that service's developer, also on the host.
func (l *keyLoader) usual(dir string) ([]*key, error) {
	looked := []string{"-i is not given", "PGOCTL_ID is not set"}
	keys, err := l.agents()
	switch {
	case err != nil:
		looked = append(looked, err.Error())
	case len(keys) == 0:
		looked = append(looked, "the SSH agent has no key")
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		k, err := l.file(filepath.Join(l.env("HOME"), ".ssh", name))
		switch {
		case err != nil:
			looked = append(looked, err.Error())
		case !slices.ContainsFunc(keys, k.same): // an agent may have loaded the file
			keys = append(keys, k)
		}
	}
	if dir != "" && len(keys) == 0 {
		own, err := l.file(filepath.Join(dir, "root_key"))
		if err == nil {
			keys = append(keys, own)
		} else {
			looked = append(looked, err.Error())
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("there is no key to log in with:\n  %s\nname one with -i", strings.Join(looked, "\n  "))
	}
	return keys, nil
}

func (l *keyLoader) file(name string) (*key, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		if reason := new(fs.PathError); errors.As(err, &reason) {
			err = reason.Err
		}
		return nil, fmt.Errorf("cannot read the key %s: %w", name, err)
	}
	return l.parse(name, text)
}

// environment accepts the key itself or the name of its file, as GitLab has variables of both
// kinds. The value may be a damaged key, and so is never shown.
func (l *keyLoader) environment(id string) (*key, error) {
	if strings.Contains(id, "PRIVATE KEY-----") {
		// After pasting into a form, the last line may have half a line's end.
		return l.parse("PGOCTL_ID", []byte(strings.TrimSpace(id)+"\n"))
	}
	text, err := os.ReadFile(id)
	if err != nil {
		return nil, errors.New("PGOCTL_ID is neither a private key nor a file that can be read")
	}
	return l.parse("PGOCTL_ID", text)
}

func (l *keyLoader) parse(name string, text []byte) (*key, error) {
	signer, err := ssh.ParsePrivateKey(text)
	if err == nil {
		return keyOf(signer), nil
	}
	missing := new(ssh.PassphraseMissingError)
	if !errors.As(err, &missing) {
		if _, _, _, _, err := ssh.ParseAuthorizedKey(text); err == nil {
			return nil, fmt.Errorf("%s is a public key; name the private one", name)
		}
		if pubkey.IsPuTTYs(string(text)) {
			return nil, fmt.Errorf("%s is a private key of PuTTY; %s", name, pubkey.ConvertPuTTYs)
		}
		return nil, fmt.Errorf("%s is not a private key that can be read: %w", name, err)
	}
	public := missing.PublicKey
	if public == nil { // the old format keeps it behind the passphrase, too
		public = publicHalf(name + ".pub")
	}
	if public == nil {
		signer, err := l.askPassphrase(name, text)
		if err != nil {
			return nil, err
		}
		return keyOf(signer), nil
	}
	locked := &key{public: public, locked: true, unlock: sync.OnceValues(func() (ssh.Signer, error) {
		return l.askPassphrase(name, text)
	})}
	// If the agent has it, nobody needs to type anything.
	agents, _ := l.agents()
	if i := slices.IndexFunc(agents, locked.same); i >= 0 {
		return agents[i], nil
	}
	return locked, nil
}

// publicHalf reads a public key, if the file has one.
func publicHalf(file string) ssh.PublicKey {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil
	}
	return public
}

// askAgent returns the keys of the SSH agent, or why there are none.
func (l *keyLoader) askAgent() ([]*key, error) {
	socket := l.env("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, errors.New("no SSH agent is running (SSH_AUTH_SOCK is not set)")
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the SSH agent: %w", err)
	}
	// The connection stays open: the agent signs over it.
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		return nil, fmt.Errorf("cannot ask the SSH agent for its keys: %w", err)
	}
	var keys []*key
	for _, s := range signers {
		if _, certificate := s.PublicKey().(*ssh.Certificate); !certificate { // pgod accepts none
			keys = append(keys, keyOf(s))
		}
	}
	return keys, nil
}
