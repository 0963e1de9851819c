package pubkey

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/crypto/ssh"
)

func lineOf(t testing.TB, key any) string {
	t.Helper()
	if private, ok := key.(crypto.Signer); ok {
		key = private.Public()
	}
	public, err := ssh.NewPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
}

// rsaLine returns a key of that many bits. Any numbers of the right size will do: nothing is signed
// with it.
func rsaLine(t testing.TB, bits uint, odd int64) string {
	t.Helper()
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return lineOf(t, &rsa.PublicKey{N: n.Add(n, big.NewInt(odd)), E: 65537})
}

func ed25519Line(t testing.TB) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return lineOf(t, public)
}

func ecdsaLine(t testing.TB, curve elliptic.Curve) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return lineOf(t, private)
}

// tokenLine returns a key from a security token.
func tokenLine(application string) string {
	blob := ssh.Marshal(struct {
		Type        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, make([]byte, ed25519.PublicKeySize), application})
	return ssh.KeyAlgoSKED25519 + " " + base64.StdEncoding.EncodeToString(blob)
}

// certificateLine returns a certificate for the key on a line.
func certificateLine(t testing.TB, line string) string {
	t.Helper()
	_, authority, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(authority)
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	signed := &ssh.Certificate{Key: key, CertType: ssh.UserCert, ValidPrincipals: []string{"miek"}}
	if err := signed.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signed)))
}

// dsaLine is a key of a type that the library no longer supports. Numbers of any size will do.
const dsaLine = "ssh-dss AAAAB3NzaC1kc3MAAAABAQAAAAEDAAAAAQIAAAABAw=="

func TestLines(t *testing.T) {
	const (
		notOne  = "it is not a public key; copy one from a .pub file"
		options = "options before a key are not supported; leave them out"
		weak    = "RSA keys of less than 2048 bits are too weak; use ed25519"
		large   = "RSA keys of more than 8192 bits are not accepted; use ed25519"
		two     = "there are two keys on one line; write each on its own line"
		private = "this is a private key; copy the public key from the .pub file, and make a new pair if others could read this file"
		cert    = "certificates are not supported; write the public key itself"
	)
	good := ed25519Line(t)
	for _, test := range []struct{ name, line, want string }{
		{"ed25519", good, ""},
		{"with a comment", good + "\tada@example.org, my AAAA key # 1", ""},
		{"ECDSA 256", ecdsaLine(t, elliptic.P256()), ""},
		{"ECDSA 384", ecdsaLine(t, elliptic.P384()), ""},
		{"ECDSA 521", ecdsaLine(t, elliptic.P521()), ""},
		{"security token", tokenLine("ssh:"), ""},
		{"RSA 2048", rsaLine(t, 2048, 1), ""},
		{"RSA 8192", rsaLine(t, 8192, 1), ""},
		{"RSA 1024", rsaLine(t, 1024, 1), weak},
		{"RSA 2047", rsaLine(t, 2047, 1), weak},
		{"RSA 8193", rsaLine(t, 8193, 1), large},
		{"RSA 16384", rsaLine(t, 16384, 1), large},
		{"RSA 16385", rsaLine(t, 16385, 1), notOne},
		{"RSA with an even modulus", rsaLine(t, 2048, 2), "it is not a valid RSA key; use ed25519"},
		{"DSA", dsaLine, "DSA keys are too weak; use ed25519"},
		{"certificate", certificateLine(t, good), cert},
		{"certificate of a small RSA key", certificateLine(t, rsaLine(t, 1024, 1)), weak},
		{"endless application", tokenLine(strings.Repeat("x", maxBlob)), "it is larger than 2048 bytes; use ed25519"},
		{"option", "restrict " + good, options},
		{"options", `from="a b",command="x # y" ` + good, options},
		{"without touch", "no-touch-required " + tokenLine("ssh:"), options},
		{"authority", "@cert-authority * " + good, notOne},
		{"authority as an option", "cert-authority " + good, options},
		{"two on a line", good + " ada" + good + " bob", two},
		{"two with the line ending of an old Mac", good + " ada\r" + good, two},
		{"private", "-----BEGIN OPENSSH PRIVATE KEY-----", private},
		{"private, of OpenSSL", "-----BEGIN RSA PRIVATE KEY-----", private},
		{"private, of PuTTY", "PuTTY-User-Key-File-3: ssh-ed25519", private},
		{"public, of PuTTY", "---- BEGIN SSH2 PUBLIC KEY ----", errPuTTY.Error()},
		{"public, PKCS8", "-----BEGIN PUBLIC KEY-----", errPKCS8.Error()},
		{"public, PEM", "-----BEGIN RSA PUBLIC KEY-----", errPEM.Error()},
		{"type alone", "ssh-ed25519", notOne},
		{"short body", "ssh-ed25519 AAAA", notOne},
		{"body cut", good[:len(good)-8], notOne},
		{"another type in front", "ssh-rsa " + strings.Fields(good)[1], notOne},
		{"signature algorithm in front", "rsa-sha2-256 " + strings.Fields(rsaLine(t, 2048, 1))[1], notOne},
		{"without a type", strings.Fields(good)[1], notOne},
		{"byte order mark", "\ufeff" + good, ""},
		{"byte order mark in the line", good[:12] + "\ufeff" + good[12:], notOne},
		{"open quote", `"` + good, notOne},
		{"fingerprint", "SHA256:abcdef", notOne},
	} {
		got := ""
		entries := File([]byte("# " + good + "\r\n\n \t" + test.line + " \r\n"))
		if len(entries) != 1 || entries[0].Line != 3 || (entries[0].Key == nil) != (test.want != "" && test.want != two) {
			t.Errorf("%s: %v", test.name, entries)
			continue
		}
		if entries[0].Err != nil {
			got = entries[0].Err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// ssh-keygen is who says how a key looks in these formats.
func TestOtherFormats(t *testing.T) {
	dir := t.TempDir()
	keygen := func(args ...string) []byte {
		out, err := exec.Command("ssh-keygen", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	file := filepath.Join(dir, "key")
	keygen("-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", file)
	plain, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	for format, want := range map[string]*Refusal{"RFC4716": errPuTTY, "PKCS8": errPKCS8, "PEM": errPEM} {
		exported := keygen("-e", "-m", format, "-f", file+".pub")
		if entries := File(exported); len(entries) != 1 || entries[0].Err != want {
			t.Errorf("%s: %v, want %v", format, entries, want)
		}
		if err := os.WriteFile(file+".other", exported, 0o600); err != nil {
			t.Fatal(err)
		}
		args := strings.Fields(want.Hint)[3:] // write what ssh-keygen …
		args = append(args[:len(args)-2:len(args)-2], file+".other")
		if entries := File(keygen(args...)); len(entries) != 1 || entries[0].Key == nil {
			t.Errorf("ssh-keygen %v: %v, want a key", args, entries)
		}
	}
	for name, text := range map[string][]byte{
		"little-endian":                 utf16le("\ufeff" + string(plain)),
		"without a byte order mark":     utf16le(string(plain)),
		"big-endian":                    utf16be("\ufeff" + string(plain)),
		"big-endian, without its mark":  utf16be(string(plain)),
		"little-endian, comment before": utf16le("# keys\r\n" + string(plain)),
	} {
		if entries := File(text); len(entries) != 1 || entries[0].Err != errUTF16 {
			t.Errorf("UTF-16, %s: %v", name, entries)
		}
	}
	if entries := File([]byte("\ufeff" + string(plain) + "\ufeff" + string(plain))); len(entries) != 2 || entries[0].Key == nil || entries[1].Key == nil {
		t.Errorf("two files with byte order marks: %v", entries)
	}
}

func utf16le(text string) (b []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return b
}

func utf16be(text string) []byte {
	b := utf16le(text)
	for i := 0; i < len(b); i += 2 {
		b[i], b[i+1] = b[i+1], b[i]
	}
	return b
}

// The lines of a private key are not reported one by one, and no part of them is shown. What
// follows it counts.
func TestPrivateKeyIsOneEntry(t *testing.T) {
	good := ed25519Line(t)
	entries := File([]byte(good + "\n-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n" + good + "\n"))
	if len(entries) != 3 || entries[0].Err != nil || entries[1].Err != ErrPrivate || entries[1].Line != 2 || entries[2].Err != nil || entries[2].Line != 5 {
		t.Errorf("%v", entries)
	}
}

// FuzzFile looks for lines that are taken for something that they are not.
func FuzzFile(f *testing.F) {
	good := ed25519Line(f)
	for _, text := range []string{
		good, "# " + good, "no-pty " + good, rsaLine(f, 1024, 1), dsaLine, certificateLine(f, good), "cert-authority," + good,
		"\n\r\n" + good + "\r", "ssh-rsa AAAA", "\"" + good, good + " a\x00b", good + good,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		entries := File(content)
		if lines := bytes.Count(content, []byte("\n")) + 1; len(entries) > lines {
			t.Errorf("%d lines gave %d entries", lines, len(entries))
		}
		for _, entry := range entries {
			if entry.Err != nil {
				if strings.ContainsAny(entry.Err.Error(), "\n\r\x00") {
					t.Errorf("a reason is not on one line: %q", entry.Err)
				}
				continue
			}
			if _, isCertificate := entry.Key.(*ssh.Certificate); isCertificate {
				t.Error("a certificate is taken for a key")
			}
			again := File(ssh.MarshalAuthorizedKey(entry.Key))
			if len(again) != 1 || again[0].Err != nil || !bytes.Equal(again[0].Key.Marshal(), entry.Key.Marshal()) {
				t.Errorf("a key is not parsed as it is printed: %v", again)
			}
		}
	})
}
