// Package secretword lists the names under which people keep secrets. It must not know the
// values, nor what is done with them.
package secretword

import (
	"slices"
	"strings"
)

var words = []string{
	"password", "passwd", "passphrase", "secret", "token", "apikey", "api_key", "api-key",
	"private_key", "private-key", "privatekey", "account_key", "account-key", "credential", "authorization",
}

// short are words that occur in other words: compass, bypass.
var short = []string{"pass", "pwd"}

// In reports whether a key's name says that its value is a secret.
func In(key string) bool {
	key = strings.ToLower(key)
	if slices.ContainsFunc(words, func(word string) bool { return strings.Contains(key, word) }) {
		return true
	}
	parts := strings.FieldsFunc(key, func(r rune) bool { return strings.ContainsRune("_-. ", r) })
	return slices.ContainsFunc(parts, func(part string) bool { return slices.Contains(short, part) })
}
