package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Where the pgods of this host keep their keys: each leaves a file with its directory's path here,
// named after its port. Variables for tests.
var (
	portsDir = "/run/pgo"
	usualDir = "/var/lib/pgo"
	isRoot   = os.Geteuid() == 0
)

// dirHere returns the directory of the pgod that a place is about, if it is on this host and root
// asks; "" otherwise. What is in there makes root an operator, and proves the host's identity.
func (p place) dirHere() string {
	if !isRoot || !isThisHost(p.host) {
		return ""
	}
	dir, err := os.ReadFile(filepath.Join(portsDir, fmt.Sprintf("port-%d", p.port)))
	if err != nil {
		return usualDir
	}
	return strings.TrimSuffix(string(dir), "\n")
}

func isThisHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	name, err := os.Hostname()
	return host == "localhost" || err == nil && host == name
}

// isOwnHostKey reports whether a host's key is that of the pgod on this host, whose private key
// only root can read.
func (p place) isOwnHostKey(key ssh.PublicKey) bool {
	dir := p.dirHere()
	if dir == "" || p.knownHosts != "" {
		return false
	}
	text, err := os.ReadFile(filepath.Join(dir, "host_key"))
	if err != nil {
		return false
	}
	own, err := ssh.ParsePrivateKey(text)
	return err == nil && bytes.Equal(own.PublicKey().Marshal(), key.Marshal())
}
