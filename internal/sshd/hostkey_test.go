package sshd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

func TestHostKeyIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host_key")
	// Several at once, as two pgods started by mistake would.
	signers := make([]ssh.Signer, 8)
	var starting sync.WaitGroup
	for i := range signers {
		starting.Go(func() {
			var err error
			if signers[i], err = LoadOrCreateHostKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	again, err := LoadOrCreateHostKey(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range signers {
		if !bytes.Equal(s.PublicKey().Marshal(), again.PublicKey().Marshal()) {
			t.Error("two host keys were made")
		}
	}
	if again.PublicKey().Type() != ssh.KeyAlgoED25519 {
		t.Errorf("the host key is a %s", again.PublicKey().Type())
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the host key's mode is %v, %v", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v, %v", left, err)
	}
}

func TestHostKeyIsNeverReplaced(t *testing.T) {
	good := filepath.Join(t.TempDir(), "host_key")
	if _, err := LoadOrCreateHostKey(good); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		text []byte
		mode os.FileMode
		says string
	}{
		{"empty", nil, 0o600, "cannot be used"},
		{"cut", text[:len(text)/2], 0o600, "cannot be used"},
		{"readable by the group", text, 0o640, "may be used by others (mode 0640)"},
		{"readable by all", text, 0o604, "may be used by others (mode 0604)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "host_key")
			if err := os.WriteFile(path, c.text, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil { // whatever the umask
				t.Fatal(err)
			}
			if _, err := LoadOrCreateHostKey(path); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; it should say: %s", err, c.says)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, c.text) {
				t.Errorf("the file was changed, %v", err)
			}
		})
	}
}

func TestHostKeyIsAFile(t *testing.T) {
	dir := t.TempDir()
	real, link, pipe := filepath.Join(dir, "real"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if _, err := LoadOrCreateHostKey(real); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, pipe, dir, filepath.Join(dir, "nowhere", "host_key")} {
		if _, err := LoadOrCreateHostKey(path); err == nil {
			t.Errorf("%s was accepted as a host key", path)
		}
	}
}
