package config

import (
	"golang.org/x/crypto/ssh"

	"pgo/internal/pubkey"
)

// LoadOperatorKeys reads a file of public keys in authorized_keys format. Its error is
// Problems, and then it returns no keys. A key that could never log in is refused rather
// than ignored.
func LoadOperatorKeys(path string) ([]ssh.PublicKey, error) {
	text, err := readPublicFile(path)
	if err != nil {
		return nil, Problems{problemOf(path, 0, err)}
	}
	var keys []ssh.PublicKey
	var problems Problems
	for _, entry := range pubkey.File([]byte(text)) {
		if entry.Err != nil {
			problems = append(problems, problemOf(path, entry.Line, wrong(entry.Err.Hint, "%s", entry.Err.Why)))
		}
		keys = append(keys, entry.Key)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return keys, nil
}
