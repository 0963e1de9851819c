package main

import (
	"crypto/rand"
	"crypto/rsa"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// A host may have keys of several kinds. pgoctl asks for a known one.
func TestKnownKindsOfHostKeysComeFirst(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(knownhosts.Line([]string{"[host]:2222"}, public)), 0o600); err != nil {
		t.Fatal(err)
	}
	hosts, err := (&job{client: &client{env: os.Getenv}, place: place{knownHosts: file}}).loadKnownHosts()
	if err != nil {
		t.Fatal(err)
	}
	all := ssh.SupportedAlgorithms().HostKeys
	got := hosts.algorithms(net.JoinHostPort("host", "2222"), slices.Clone(all))
	if !slices.Equal(got[:2], []string{ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512}) || len(got) != len(all) {
		t.Errorf("a host that is known by an RSA key is asked for %q", got)
	}
	if got := hosts.algorithms(net.JoinHostPort("other", "2222"), slices.Clone(all)); !slices.Equal(got, all) {
		t.Errorf("a host that is not known is asked for %q", got)
	}
}
