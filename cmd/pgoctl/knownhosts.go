package main

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// knownHosts knows the keys of hosts.
type knownHosts struct {
	job   *job
	own   string // the file that new keys are written to
	known ssh.HostKeyCallback
}

// loadKnownHosts reads the files of known hosts that exist. It never writes OpenSSH's.
func (j *job) loadKnownHosts() (*knownHosts, error) {
	files := j.knownHostsFiles(j.place)
	h := &knownHosts{job: j, own: files[0]}
	files = slices.DeleteFunc(files, func(file string) bool {
		_, err := os.Stat(file)
		return errors.Is(err, fs.ErrNotExist)
	})
	var err error
	if h.known, err = knownhosts.New(files...); err != nil {
		return nil, fmt.Errorf("cannot read the keys of known hosts: %w; --known-hosts names another file", err)
	}
	return h, nil
}

// knownHostsFiles returns those that count for a host; new keys are written to the first.
func (c *client) knownHostsFiles(p place) []string {
	if p.knownHosts != "" {
		return []string{p.knownHosts}
	}
	return []string{filepath.Join(c.configDir(), "known_hosts"), filepath.Join(c.env("HOME"), ".ssh", "known_hosts")}
}

// configDir returns the directory of a user's files for pgo.
func (c *client) configDir() string {
	dir := c.env("XDG_CONFIG_HOME")
	if dir == "" {
		dir = filepath.Join(c.env("HOME"), ".config")
	}
	return filepath.Join(dir, "pgo")
}

// check decides whether a host's key is right.
func (h *knownHosts) check(address string, remote net.Addr, key ssh.PublicKey) error {
	got := ssh.FingerprintSHA256(key)
	if want := h.job.fingerprint; want != "" {
		if got != want {
			given := h.job.saidBy
			if given != "--fingerprint" {
				given = "fingerprint in " + given
			}
			return localErrorf("the host key of %s is not the one given as %s:\n  given    %s\n  the host %s", address, given, want, got)
		}
		return nil
	}
	if h.job.isOwnHostKey(key) {
		return nil
	}
	err := h.known(address, remote, key)
	unknown, revoked := new(knownhosts.KeyError), new(knownhosts.RevokedError)
	switch {
	case errors.As(err, &revoked):
		return localErrorf("the host key of %s is revoked in %s:%d", address, revoked.Revoked.Filename, revoked.Revoked.Line)
	case !errors.As(err, &unknown):
		return err
	case len(unknown.Want) > 0:
		return changedError(address, got, unknown.Want)
	case !h.job.flags.acceptNew || h.job.batch:
		return localErrorf("the host key of %s is not known yet: %s %s\n"+
			"If the host's operator confirms it, continue with --accept-new, which remembers it, or with\n"+
			"--fingerprint %s", address, key.Type(), got, got)
	}
	return h.remember(address, key)
}

func changedError(address, got string, known []knownhosts.KnownKey) error {
	var text strings.Builder
	fmt.Fprintf(&text, "the host key of %s has changed: another host may pretend to be this one\n", address)
	for _, k := range known {
		fmt.Fprintf(&text, "  known    %s (%s:%d)\n", ssh.FingerprintSHA256(k.Key), k.Filename, k.Line)
	}
	fmt.Fprintf(&text, "  the host %s\n", got)
	text.WriteString("If its operator confirms the change, remove the known key's line and continue with --accept-new.")
	return localErrorf("%s", &text)
}

// remember adds a host to the file of known ones.
func (h *knownHosts) remember(address string, key ssh.PublicKey) error {
	h.job.remembering.Lock() // several hosts may be new
	defer h.job.remembering.Unlock()
	if err := h.append(knownhosts.Line([]string{address}, key) + "\n"); err != nil {
		return localErrorf("cannot remember the host key of %s: %v", address, err)
	}
	if !h.job.quiet {
		h.job.sayf("pgoctl: the host key of %s is now known: %s", address, ssh.FingerprintSHA256(key))
	}
	return nil
}

func (h *knownHosts) append(line string) error {
	if err := os.MkdirAll(filepath.Dir(h.own), 0o700); err != nil {
		return err
	}
	before, err := os.ReadFile(h.own)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(before) > 0 && !bytes.HasSuffix(before, []byte("\n")) {
		line = "\n" + line // somebody edited it and left the last line without its end
	}
	file, err := os.OpenFile(h.own, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(line)
	return errors.Join(err, file.Close())
}

// algorithms puts those first that belong to the keys known for the host, so that it shows one of
// these keys if it has several. The library reports them only as what it wanted instead of a key
// that cannot be right.
func (h *knownHosts) algorithms(address string, all []string) []string {
	nobody, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return all
	}
	mismatch := new(knownhosts.KeyError)
	if !errors.As(h.known(address, &net.TCPAddr{}, nobody), &mismatch) {
		return all
	}
	first := make(map[string]bool)
	for _, k := range mismatch.Want {
		first[k.Key.Type()] = true
		if k.Key.Type() == ssh.KeyAlgoRSA {
			first[ssh.KeyAlgoRSASHA256], first[ssh.KeyAlgoRSASHA512] = true, true
		}
	}
	slices.SortStableFunc(all, func(a, b string) int {
		switch {
		case first[a] == first[b]:
			return 0
		case first[a]:
			return -1
		default:
			return 1
		}
	})
	return all
}
