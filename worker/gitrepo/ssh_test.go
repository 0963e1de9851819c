package gitrepo

import (
	"crypto/ed25519"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"pgo/internal/gittest"
)

func TestHostKeysAreChecked(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	want := s.commit("a", "a")
	server := gittest.SSH(t)
	address := strings.SplitN(server.URL, "@", 2)[1]
	right := knownhosts.Line([]string{address}, server.HostKey)
	other := newEd25519(t)
	_, port, _ := strings.Cut(address, ":")
	host := "[127.0.0.1]:" + port
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")

	for name, c := range map[string]struct {
		content string
		want    []string // in the error; none: it works
	}{
		"known":            {right, nil},
		"known, hashed":    {knownhosts.HashHostname(host) + " " + line(server.HostKey), nil},
		"known among many": {"# c\n\nother.example.org " + line(other) + "\n" + host + ",x " + line(server.HostKey) + "\n", nil},
		"unknown": {"", []string{
			"the host key of " + address + " is not known", ssh.FingerprintSHA256(server.HostKey), "add this line to " + missing + " or ", right,
		}},
		"of another host": {"other.example.org " + line(server.HostKey), []string{"is not known"}},
		"changed": {"# c\n" + host + " " + line(other), []string{
			"has changed", ssh.FingerprintSHA256(other) + " in ", "known_hosts:2", "it presents ssh-ed25519 " + ssh.FingerprintSHA256(server.HostKey), right,
		}},
		"revoked": {right + "\n@revoked * " + line(server.HostKey), []string{"is revoked in"}},
		"garbage": {"what is this", []string{"cannot read the known host keys", "known_hosts: no valid entries, line 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, "known_hosts")
			if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			s.open(Remote{URL: server.URL + s.remote.Dir, Key: server.Key}, KnownHosts(missing, file))
			got, err := s.Look(soon(t))
			if len(c.want) == 0 {
				if err != nil || got != want {
					t.Errorf("Look() = %v, %v, want %v", got, err, want)
				}
				return
			}
			wantKind(t, err, ErrHostKey)
			for _, text := range c.want {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("the error is %q, want %q in it", err, text)
				}
			}
		})
	}
}

func TestRefusedDeployKey(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.commit("a", "a")
	server := gittest.SSH(t)
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	s.open(Remote{URL: server.URL + s.remote.Dir, Key: pem.EncodeToMemory(block)}, KnownHosts(server.KnownHosts))
	_, err = s.Look(soon(t))
	wantKind(t, err, ErrAuth)
	if want := ssh.FingerprintSHA256(publicKey(t, private)); !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %q, want %q in it", err, want)
	}

	locked, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("a passphrase"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(filepath.Join(t.TempDir(), "repo.git"), Remote{URL: server.URL + "/x", Key: pem.EncodeToMemory(locked)}, "main")
	if err == nil || !strings.Contains(err.Error(), "has a passphrase") {
		t.Errorf("the error is %v", err)
	}
}

func TestPathsForSSH(t *testing.T) {
	for url, want := range map[string]struct{ address, path, shown string }{
		"ssh://git@git.example.org/team/x.git":     {"git.example.org:22", "/team/x.git", "ssh://git.example.org/team/x.git"},
		"ssh://git@git.example.org:2222/x%20y.git": {"git.example.org:2222", "/x y.git", "ssh://git.example.org:2222/x%20y.git"},
		"ssh://git@[::1]/x.git":                    {"[::1]:22", "/x.git", "ssh://[::1]/x.git"},
		"ssh://git@git.example.org/~ada/x.git":     {"git.example.org:22", "~ada/x.git", "ssh://git.example.org/~ada/x.git"},
		"git@git.example.org:team/x.git":           {"git.example.org:22", "team/x.git", "git.example.org:team/x.git"},
	} {
		a, err := parseAddress(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if got := a.hostPort("22"); got != want.address {
			t.Errorf("%s: the address is %q, want %q", url, got, want.address)
		}
		if got := a.repositoryPath(); got != want.path {
			t.Errorf("%s: the path is %q, want %q", url, got, want.path)
		}
		if got := a.String(); got != want.shown {
			t.Errorf("%s is shown as %q, want %q", url, got, want.shown)
		}
	}
	if got, want := shellQuote("it's!"), `'it'\''s'\!''`; got != want {
		t.Errorf("shellQuote() = %s, want %s", got, want)
	}
}
