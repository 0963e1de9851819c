package sshd

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"pgo/internal/sockets"
)

// A key of the host's own is kept as long as it can be used and nobody else can read it.
func TestLocalKeyIsMadeAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root_key")
	load := func(wantMade bool, when string) ssh.PublicKey {
		t.Helper()
		key, made, err := LoadOrMakeKey(path)
		if err != nil || made != wantMade {
			t.Fatalf("%s: made: %v, %v", when, made, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", when, info.Mode(), err)
		}
		return key
	}
	first := load(true, "at first")
	if again := load(false, "again"); !bytes.Equal(again.Marshal(), first.Marshal()) {
		t.Error("it is another one")
	}
	for when, spoil := range map[string]func() error{
		"removed":     func() error { return os.Remove(path) },
		"emptied":     func() error { return os.WriteFile(path, nil, 0o600) },
		"broken":      func() error { return os.WriteFile(path, []byte("no key\n"), 0o600) },
		"readable":    func() error { return os.Chmod(path, 0o644) },
		"a link":      func() error { _ = os.Rename(path, path+".old"); return os.Symlink(path+".old", path) },
		"a dead link": func() error { _ = os.Remove(path); return os.Symlink("/nonexistent", path) },
		"replaced":    func() error { _ = os.Remove(path); return os.WriteFile(path, []byte("x"), 0o400) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if now := load(true, when); bytes.Equal(now.Marshal(), first.Marshal()) {
			t.Errorf("%s: it is the same", when)
		}
		load(false, "after it was "+when)
	}
	if err := os.WriteFile(path, []byte("no key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadLocalKey(path); err == nil || !strings.HasPrefix(err.Error(), "root's own key "+path+" cannot be used: ") || strings.Contains(err.Error(), "host") {
		t.Errorf("one that cannot be used: %v", err)
	}
	if _, _, err := LoadOrMakeKey(filepath.Join(t.TempDir(), "none", "key")); err == nil {
		t.Error("made in a directory that does not exist")
	}
}

// connMetadata has the two ends of a connection.
type connMetadata struct {
	ssh.ConnMetadata
	local, remote string
}

func (c connMetadata) LocalAddr() net.Addr  { return tcp(c.local) }
func (c connMetadata) RemoteAddr() net.Addr { return tcp(c.remote) }

func tcp(address string) net.Addr {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		panic(err)
	}
	return addr
}

// The host's own key counts only where a connection comes from the host itself; others count from
// anywhere.
func TestLocalKeyIsForThisHost(t *testing.T) {
	own, other := newSigner(t), newSigner(t)
	h := startHost(t, backend{knows: knowing(own, other)})
	for _, test := range []struct {
		local, remote string
		elsewhere     bool
	}{
		{"127.0.0.1:2222", "127.0.0.1:5000", false},
		{"127.0.0.1:2222", "127.9.9.9:5000", false},
		{"[::1]:2222", "[::1]:5000", false},
		{"192.0.2.1:2222", "192.0.2.1:5000", false},
		{"[2001:db8::1]:2222", "[2001:db8::1]:5000", false},
		{"192.0.2.1:2222", "192.0.2.2:5000", true},
		{"[2001:db8::1]:2222", "[2001:db8::2]:5000", true},
		{"172.17.0.1:2222", "172.17.0.2:5000", true},
	} {
		h.LocalOnly(own.PublicKey())
		h.isRoots = func(local, remote *net.TCPAddr) bool {
			return local.String() == test.local && remote.String() == test.remote
		}
		meta := connMetadata{local: test.local, remote: test.remote}
		if got := h.isElsewhere(own.PublicKey(), meta); got != test.elsewhere {
			t.Errorf("%+v: %v", test, got)
		}
		if h.isElsewhere(other.PublicKey(), meta) {
			t.Errorf("%+v: another key is refused", test)
		}
		h.isRoots = func(_, _ *net.TCPAddr) bool { return false }
		if !h.isElsewhere(own.PublicKey(), meta) {
			t.Errorf("%+v: it counts for somebody who is not root", test)
		}
		h.LocalOnly(nil)
		if h.isElsewhere(own.PublicKey(), meta) {
			t.Errorf("%+v: it counts nowhere else any more, and is refused", test)
		}
	}
	h.LocalOnly(own.PublicKey())
	h.isRoots = sockets.IsRoots
	if _, err := h.dial(t, own); (err == nil) != (os.Getuid() == 0) {
		t.Errorf("user %d: %v", os.Getuid(), err)
	}
	l := &login{server: h.Server, ctx: t.Context()}
	if _, err := l.offer(userAt{connMetadata{local: "192.0.2.1:2222", remote: "192.0.2.2:5000"}}, own.PublicKey()); err != errUnknownKey {
		t.Errorf("from elsewhere: %v", err)
	}
	if _, err := l.offer(userAt{connMetadata{local: "192.0.2.1:2222", remote: "192.0.2.2:5000"}}, other.PublicKey()); err != nil {
		t.Errorf("another key from elsewhere: %v", err)
	}
}

// userAt is a connection with a login name.
type userAt struct{ connMetadata }

func (userAt) User() string { return "miek" }
