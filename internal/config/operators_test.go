package config

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestLoadOperatorKeys(t *testing.T) {
	key := strings.TrimSpace(testKeys().public)
	dir := writeFiles(t, 0o644, map[string]string{
		"good":  "# the team\n\n" + key + " alice@example.org\r\n  " + key + "\n",
		"empty": "# nobody\n",
		"bad": key + "\n" +
			`no-pty,command="/bin/true" ` + key + "\n" +
			"ssh-ed25519 AAAA\n" +
			"hello\n" +
			certificate(t) + "\n",
		"writable": key + "\n",
		"private":  "# S3CRET\n" + testKeys().plain,
		"putty":    "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n",
	})
	if err := os.Chmod(filepath.Join(dir, "writable"), 0o664); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		keys int
		want string
	}{
		{"good", 2, ""},
		{"empty", 0, ""},
		{"bad", 0, `DIR/bad:2: a key with options; an operator may do everything; leave the options out
DIR/bad:3: no public SSH key; write one as it stands in a .pub file
DIR/bad:4: no public SSH key; write one as it stands in a .pub file
DIR/bad:5: a certificate; write the public key itself`},
		{"writable", 0, "DIR/writable: cannot trust DIR/writable: it may be changed by others (mode 0664); chmod go-w DIR/writable"},
		{"private", 0, "DIR/private:2: this is a private key; name a file of public keys, each as it stands in a .pub file"},
		{"putty", 0, "DIR/putty:1: this is a private key; name a file of public keys, each as it stands in a .pub file"},
		{"missing", 0, "DIR/missing: cannot open DIR/missing: no such file or directory"},
	} {
		keys, err := LoadOperatorKeys(filepath.Join(dir, test.name))
		text := ""
		if err != nil {
			text = err.Error()
		}
		if want := strings.ReplaceAll(test.want, "DIR", dir); text != want || len(keys) != test.keys {
			t.Errorf("%s: %d keys, error\n%s\nwant\n%s", test.name, len(keys), text, want)
		}
	}
}

// certificate is one for the test key, signed by itself.
func certificate(t *testing.T) string {
	t.Helper()
	signer, err := ssh.ParsePrivateKey([]byte(testKeys().plain))
	if err != nil {
		t.Fatal(err)
	}
	c := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"miek"}}
	if err := c.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(c)))
}

// FuzzPublicKey looks for lines that are taken for something else than they are.
func FuzzPublicKey(f *testing.F) {
	public := strings.TrimSpace(testKeys().public)
	for _, line := range []string{public, "restrict " + public, public + " comment\r", "cert-authority," + public, "ssh-rsa AAAA", "# x"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		key, err := parsePublicKey(line)
		if err != nil {
			return
		}
		if _, isCertificate := key.(*ssh.Certificate); isCertificate {
			t.Error("a certificate is taken for a key")
		}
		encoded := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
		if again, err := parsePublicKey(encoded); err != nil || !bytes.Equal(again.Marshal(), key.Marshal()) {
			t.Errorf("the key %s is not read as it is written: %v", encoded, err)
		}
	})
}
