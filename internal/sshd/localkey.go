package sshd

import (
	"net"

	"golang.org/x/crypto/ssh"

	"pgo/internal/atomicfile"
)

// LoadOrMakeKey reads a private key that this host has for itself, and makes another one if there
// is none, if it cannot be used, or if others might have read it: nobody else knows it, so nothing
// is lost. made reports that.
func LoadOrMakeKey(path string) (key ssh.PublicKey, made bool, err error) {
	if signer, err := loadLocalKey(path); err == nil {
		return signer.PublicKey(), false, nil
	}
	text, err := newKey()
	if err == nil {
		err = atomicfile.Replace(path, text, 0o600)
	}
	if err != nil {
		return nil, false, err
	}
	signer, err := loadLocalKey(path)
	if err != nil {
		return nil, false, err
	}
	return signer.PublicKey(), true, nil
}

func loadLocalKey(path string) (ssh.Signer, error) {
	return loadKey("root's own key", "and the next reload makes a new one", path)
}

// LocalOnly sets the key with which only root of this host itself may log in, in place of the previous one;
// nil: there is none. It may be called at any time.
func (s *Server) LocalOnly(key ssh.PublicKey) {
	text := ""
	if key != nil {
		text = string(key.Marshal())
	}
	s.localOnly.Store(&text)
}

// isElsewhere reports whether only root of this host may log in with a key, and this is another host
// or somebody else: a copy of the key is of no use to another user, nor through another's tunnel.
func (s *Server) isElsewhere(key ssh.PublicKey, meta ssh.ConnMetadata) bool {
	only := s.localOnly.Load()
	return only != nil && *only == string(key.Marshal()) && !s.fromRoot(meta.LocalAddr(), meta.RemoteAddr())
}

// fromRoot reports whether a connection to one of this host's addresses is from this host, and its
// other end is root's. The kernel drops packets that come from outside and say that they do not.
func (s *Server) fromRoot(local, remote net.Addr) bool {
	at, ok := local.(*net.TCPAddr)
	from, isTCP := remote.(*net.TCPAddr)
	return ok && isTCP && (from.IP.IsLoopback() || from.IP.Equal(at.IP)) && s.isRoots(at, from)
}
