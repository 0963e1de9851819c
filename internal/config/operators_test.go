package config

import (
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestLoadOperatorKeys(t *testing.T) {
	key := strings.TrimSpace(testKeys().public)
	// Any numbers of the right size will do: nothing is signed with this key.
	n := new(big.Int).Lsh(big.NewInt(1), 1023)
	public, err := ssh.NewPublicKey(&rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	weak := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
	dir := writeFiles(t, 0o644, map[string]string{
		"good":  "# the team\n\n" + key + " alice@example.org\r\n  " + key + "\n",
		"empty": "# nobody\n",
		"bad": key + "\n" +
			`no-pty,command="/bin/true" ` + key + "\n" +
			"ssh-ed25519 AAAA\n" +
			"hello\n" +
			certificate(t) + "\n" +
			weak + "\n" +
			key + " ada" + key + "\n",
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
		{"bad", 0, `DIR/bad:2: options before a key are not supported; leave them out
DIR/bad:3: it is not a public key; copy one from a .pub file
DIR/bad:4: it is not a public key; copy one from a .pub file
DIR/bad:5: certificates are not supported; write the public key itself
DIR/bad:6: RSA keys of less than 2048 bits are too weak; use ed25519
DIR/bad:7: there are two keys on one line; write each on its own line`},
		{"writable", 0, "DIR/writable: cannot trust DIR/writable: it may be changed by others (mode 0664); chmod go-w DIR/writable"},
		{"private", 0, "DIR/private:2: this is a private key; copy the public key from the .pub file, and make a new pair if others could read this file"},
		{"putty", 0, "DIR/putty:1: this is a private key; copy the public key from the .pub file, and make a new pair if others could read this file"},
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

// certificate returns one for the test key, signed by that key.
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
