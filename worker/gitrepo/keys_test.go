package gitrepo

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func publicKey(t testing.TB, key any) ssh.PublicKey {
	t.Helper()
	if private, ok := key.(crypto.Signer); ok {
		key = private.Public()
	}
	public, err := ssh.NewPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func newEd25519(t testing.TB) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return publicKey(t, public)
}

// line is the line of a key in an authorized_keys file, without its newline.
func line(key ssh.PublicKey) string {
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(key)), "\n")
}

// dsaLine is the line of a DSA key, which the library no longer knows. Its numbers do not matter.
const dsaLine = "ssh-dss AAAAB3NzaC1kc3MAAAABAQAAAAEDAAAAAQIAAAABAw=="

func weakKeys(t testing.TB) (rsa1024, certificate ssh.PublicKey) {
	t.Helper()
	// Only the size of the numbers matters: nobody signs with these keys.
	n := new(big.Int).Lsh(big.NewInt(1), 1023)
	rsa1024 = publicKey(t, &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537})
	_, authority, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(authority)
	if err != nil {
		t.Fatal(err)
	}
	signed := &ssh.Certificate{Key: newEd25519(t), CertType: ssh.UserCert, ValidPrincipals: []string{"miek"}}
	if err := signed.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	return rsa1024, signed
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	head := s.commit("README", "no keys yet")
	s.sync()
	if keys, ignored, err := s.Keys(head); err != nil || len(keys)+len(ignored) != 0 {
		t.Errorf("without ssh/: Keys() = %v, %v, %v", keys, ignored, err)
	}

	one, two, three, four := newEd25519(t), newEd25519(t), newEd25519(t), newEd25519(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve := publicKey(t, private)
	rsa1024, certificate := weakKeys(t)
	if err := os.Symlink("/etc/ssh/ssh_host_ed25519_key.pub", filepath.Join(s.remote.Dir, "link")); err != nil {
		t.Fatal(err)
	}
	s.remote.Write("ssh/sub.pub/a.pub", line(newEd25519(t)))
	if err := os.Symlink("../a.pub", filepath.Join(s.remote.Dir, "ssh", "link.pub")); err != nil {
		t.Fatal(err)
	}
	head = s.commit(
		"a.pub", line(newEd25519(t)),
		"ssh/a.pub", line(one)+" ada@example.org\n",
		"ssh/many.pub", "# ours\r\n\r\n  "+line(two)+"\r\n\t# "+line(newEd25519(t))+"\n"+line(curve),
		"ssh/weird \n\xff.pub", line(three),
		"ssh/notes.txt", line(newEd25519(t)),
		"ssh/key", "# mine\n"+line(newEd25519(t)),
		"ssh/id_ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n",
		"ssh/config", "Host *\n",
		"ssh/bom.pub", "\ufeff"+line(four)+"\r\n",
		"ssh/utf16.pub", "\xff\xfes\x00s\x00h\x00-\x00\n\x00",
		"ssh/putty.pub", "---- BEGIN SSH2 PUBLIC KEY ----\nComment: \"x\"\n"+strings.Fields(line(newEd25519(t)))[1]+"\n---- END SSH2 PUBLIC KEY ----\n",
		"ssh/options.pub", `command="ls" `+line(newEd25519(t))+"\nrestrict "+line(newEd25519(t))+"\n",
		"ssh/weak.pub", line(rsa1024)+"\n"+dsaLine+"\n",
		"ssh/cert.pub", line(certificate)+"\n@cert-authority * "+line(newEd25519(t))+"\n",
		"ssh/private.pub", "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n",
		"ssh/two.pub", line(two)+" ada"+line(newEd25519(t))+" bob\n",
		"ssh/large.pub", line(newEd25519(t))+strings.Repeat("\n#", 32<<10),
	)
	s.sync()
	keys, ignored, err := s.Keys(head)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range keys {
		got = append(got, k.File+" "+string(k.Blob))
	}
	want := []string{
		"ssh/a.pub " + string(one.Marshal()),
		"ssh/bom.pub " + string(four.Marshal()),
		"ssh/many.pub " + string(two.Marshal()),
		"ssh/many.pub " + string(curve.Marshal()),
		"ssh/two.pub " + string(two.Marshal()),
		"ssh/weird \n\xff.pub " + string(three.Marshal()),
	}
	if !slices.Equal(got, want) {
		t.Errorf("the keys are %q, want %q", got, want)
	}
	wantIgnored := []string{
		`"ssh/cert.pub", line 1: certificates are not supported; write the public key itself`,
		`"ssh/cert.pub", line 2: it is not a public key; copy one from a .pub file`,
		`"ssh/id_ed25519" is a private key, and everybody who can read the repository has it; remove it, and make a new pair`,
		`"ssh/key" has a public key, but its name does not end in .pub; rename it`,
		`"ssh/large.pub" is larger than 64 KiB`,
		`"ssh/link.pub" is not a regular file`,
		`"ssh/notes.txt" has a public key, but its name does not end in .pub; rename it`,
		`"ssh/options.pub", line 1: options before a key are not supported; leave them out`,
		`"ssh/options.pub", line 2: options before a key are not supported; leave them out`,
		`"ssh/private.pub", line 1: this is a private key; copy the public key from the .pub file, and make a new pair if others could read this file`,
		`"ssh/putty.pub", line 1: the public key is in the format of PuTTYgen's "Save public key" (RFC 4716); write what ssh-keygen -i -f FILE prints`,
		`"ssh/sub.pub" is not a regular file`,
		`"ssh/two.pub", line 1: there are two keys on one line; write each on its own line`,
		`"ssh/utf16.pub", line 1: the file is in UTF-16, as PowerShell's > writes it; save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE prints it so`,
		`"ssh/weak.pub", line 1: RSA keys of less than 2048 bits are too weak; use ed25519`,
		`"ssh/weak.pub", line 2: DSA keys are too weak; use ed25519`,
	}
	if !slices.Equal(ignored, wantIgnored) {
		t.Errorf("ignored is %s, want %s", strings.Join(ignored, "\n"), strings.Join(wantIgnored, "\n"))
	}
}

func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	var found keyring
	one := line(newEd25519(t)) + "\n"
	found.addFile("ssh/a.pub", []byte(strings.Repeat(one, maxKeys)))
	found.addFile("ssh/b.pub", []byte(strings.Repeat(one, 2*maxIgnored)))
	if len(found.keys) != maxKeys || len(found.ignored) != maxIgnored+1 {
		t.Errorf("there are %d keys and %d ignored lines", len(found.keys), len(found.ignored))
	}
}

func FuzzKeyFile(f *testing.F) {
	good := line(newEd25519(f))
	rsa1024, certificate := weakKeys(f)
	for _, text := range []string{
		good, "# " + good, "no-pty " + good, `from="a b",command="x # y" ` + good, line(rsa1024), dsaLine,
		line(certificate), "\n\r\n" + good + "\r", "ssh-ed25519", "ssh-rsa AAAA", "\"" + good, good + " a\x00b",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		var found keyring
		found.addFile("ssh/a.pub", content)
		if lines := bytes.Count(content, []byte("\n")) + 1; len(found.keys)+len(found.ignored) > lines {
			t.Errorf("%d lines gave %d keys and %q", lines, len(found.keys), found.ignored)
		}
		for _, k := range found.keys {
			key, err := ssh.ParsePublicKey(k.Blob)
			if err != nil {
				t.Fatalf("a key cannot be parsed: %v", err)
			}
			if _, ok := key.(*ssh.Certificate); ok || key.Type() == "ssh-dss" {
				t.Errorf("a %s was taken", key.Type())
			}
			// It must be alone on its line, apart from a comment.
			if !bytes.Contains(content, []byte(strings.Fields(line(key))[1][:20])) {
				t.Errorf("the file does not hold %s", line(key))
			}
		}
		for _, why := range found.ignored {
			if strings.ContainsAny(why, "\n\r\x00") {
				t.Errorf("a reason is not one line: %q", why)
			}
		}
	})
}
