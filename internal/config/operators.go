package config

import (
	"regexp"
	"strings"

	"golang.org/x/crypto/ssh"
)

// How a file of a private key begins, of OpenSSH, OpenSSL or PuTTY.
var privateKey = regexp.MustCompile(`(?m)^(-----BEGIN ([A-Z]+ )*PRIVATE KEY-----|PuTTY-User-Key-File-)`)

// LoadOperatorKeys reads a file of public keys in authorized_keys format. Its error is
// Problems, and then there are no keys. A key with options is refused: to ignore a
// restriction would widen it.
func LoadOperatorKeys(path string) ([]ssh.PublicKey, error) {
	text, err := readOwnFile(path, 0o022, "may be changed by others", "chmod go-w")
	if err != nil {
		return nil, Problems{problemOf(path, 0, err)}
	}
	if found := privateKey.FindStringIndex(text); found != nil {
		line := 1 + strings.Count(text[:found[0]], "\n")
		return nil, Problems{problemOf(path, line, wrong("name a file of public keys, each as it stands in a .pub file", "this is a private key"))}
	}
	var keys []ssh.PublicKey
	var problems Problems
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, err := parsePublicKey(line)
		if err != nil {
			problems = append(problems, problemOf(path, i+1, err))
		}
		keys = append(keys, key)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return keys, nil
}

func parsePublicKey(line string) (ssh.PublicKey, error) {
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, wrong("write one as it stands in a .pub file", "no public SSH key")
	}
	if len(options) > 0 {
		return nil, wrong("an operator may do everything; leave the options out", "a key with options")
	}
	if _, isCertificate := key.(*ssh.Certificate); isCertificate {
		return nil, wrong("write the public key itself", "a certificate")
	}
	return key, nil
}
