package gitrepo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// hostKeyCheck returns the check of a server's key against known_hosts files, and the kinds of
// keys that they have for the server: it may have others, and must not be asked for those.
func hostKeyCheck(files []string, address string) (ssh.HostKeyCallback, []string, error) {
	var present []string
	for _, f := range files {
		if _, err := os.Stat(f); err == nil {
			present = append(present, f)
		}
	}
	known, err := knownhosts.NewDB(present...)
	if err != nil {
		return nil, nil, problem(ErrHostKey, "cannot read the known host keys: %v", err)
	}
	lookup := known.HostKeyCallback()
	check := func(host string, remote net.Addr, key ssh.PublicKey) error {
		return explainHostKey(lookup(host, remote, key), files, host, key)
	}
	return check, known.HostKeyAlgorithms(address), nil
}

// explainHostKey says what to do about a host key that was not accepted.
func explainHostKey(err error, files []string, host string, key ssh.PublicKey) error {
	var unknown *xknownhosts.KeyError
	if !errors.As(err, &unknown) {
		var revoked *xknownhosts.RevokedError
		if errors.As(err, &revoked) {
			return problem(ErrHostKey, "the key that %s presents (%s) is revoked in %s", host, fingerprint(key), place(revoked.Revoked))
		}
		return err
	}
	line := xknownhosts.Line([]string{host}, key)
	if len(unknown.Want) == 0 {
		return problem(ErrHostKey, "the host key of %s is not known; it presents %s; if that is right, add this line to %s: %s",
			host, fingerprint(key), strings.Join(files, " or "), line)
	}
	var known []string
	for _, k := range unknown.Want {
		known = append(known, fmt.Sprintf("%s in %s", fingerprint(k.Key), place(k)))
	}
	return problem(ErrHostKey, "the host key of %s has changed: the known key is %s, and it presents %s; another server may pretend to be this one; if the change is right, the new line is: %s",
		host, strings.Join(known, ", "), fingerprint(key), line)
}

func fingerprint(key ssh.PublicKey) string {
	return key.Type() + " " + ssh.FingerprintSHA256(key)
}

func place(k xknownhosts.KnownKey) string {
	return fmt.Sprintf("%s:%d", k.Filename, k.Line)
}
