package config

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

var update = flag.Bool("update", false, "write the problems found to testdata")

// token is part of every text in the tests that must not be shown.
const token = "S3C"

var testOptions = Options{SSHPort: 2222, Machines: []string{"host1.example.org"}}

// TestCases reads testdata: a configuration, a line of dashes, its problems. To add a case, add
// a file and run with -update, which writes the problems found; read them before you commit.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in testdata: %v", err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".toml")
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			const dashes = "-----\n"
			input, want, found := strings.Cut(string(content), dashes)
			if !found {
				t.Fatal("no line of five dashes")
			}
			got := findings(input, strings.HasPrefix(name, "unsupported"))
			if strings.Contains(got, token) {
				t.Error("a problem shows a secret")
			}
			if *update {
				if err := os.WriteFile(path, []byte(input+dashes+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("found:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// findings returns the problems and warnings of a file that others can read. Keys that are not
// supported yet have a case of their own; in the other cases they would be noise.
func findings(text string, unsupported bool) string {
	config, problems := parse([]source{{path: "pgo.toml", text: text, public: true}}, testOptions, testReferences())
	var b strings.Builder
	for _, p := range problems {
		if unsupported || p.Message != errUnsupported.Error() {
			b.WriteString(strings.TrimPrefix(p.String(), "pgo.toml:") + "\n")
		}
	}
	for _, p := range config.Warnings {
		b.WriteString("warning: " + strings.TrimPrefix(p.String(), "pgo.toml:") + "\n")
	}
	return b.String()
}

// testReferences has the files and variables of a test machine.
func testReferences() references {
	files := map[string]string{
		"/secret/repository":     "https://oauth2:S3CRET@git.example.org/web.git\n",
		"/secret/registry":       "user:S3CRET@registry.example.org\r\n",
		"/secret/empty":          "\n",
		"/secret/key":            testKeys().plain,
		"/secret/passphrase-key": testKeys().protected,
		"/secret/public-key":     testKeys().public,
		"/secret/putty-key":      "PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\n",
	}
	variables := map[string]string{"PASSWORD": "S3CRET", "REGISTRY": "user:S3CRET@registry.example.org"}
	return references{
		file: func(path string) (string, error) {
			if content, ok := files[path]; ok {
				return content, nil
			}
			return "", errors.New("cannot open " + path)
		},
		public: func(path string) (string, error) {
			if content, ok := testCertificates()[path]; ok {
				return content, nil
			}
			return "", errors.New("cannot open " + path)
		},
		env: func(name string) (string, error) {
			if content, ok := variables[name]; ok {
				return content, nil
			}
			return "", wrong("set it where pgod is started", "the environment variable %s is not set", name)
		},
	}
}

// testCertificates has the files of a test machine that others may read.
var testCertificates = sync.OnceValue(func() map[string]string {
	_, private, err := ed25519.GenerateKey(nil)
	must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(err)
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return map[string]string{
		"/ca/one.pem":     text,
		"/ca/two.pem":     "# ours\n" + text + "and theirs\n" + text,
		"/ca/der.crt":     string(der),
		"/ca/key.pem":     text + testKeys().plain,
		"/ca/damaged.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der[:len(der)-40]})),
		"/ca/text.pem":    "hello\n",
		"/ca/empty.pem":   "",
	}
})

type keyFiles struct{ plain, protected, public string }

var testKeys = sync.OnceValue(func() keyFiles {
	public, private, err := ed25519.GenerateKey(nil)
	must(err)
	plain, err := ssh.MarshalPrivateKey(private, "")
	must(err)
	protected, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("passphrase"))
	must(err)
	key, err := ssh.NewPublicKey(public)
	must(err)
	return keyFiles{
		plain:     string(pem.EncodeToMemory(plain)),
		protected: string(pem.EncodeToMemory(protected)),
		public:    string(ssh.MarshalAuthorizedKey(key)),
	}
})

func must(err error) {
	if err != nil {
		panic(err)
	}
}
