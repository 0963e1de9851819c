package gitrepo

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// Hash names a commit or another object of git. The zero Hash names none, and its text
// is empty.
type Hash plumbing.Hash

// ParseHash returns the hash of that text: forty hexadecimal digits.
func ParseHash(text string) (Hash, error) {
	if !plumbing.IsHash(text) {
		return Hash{}, fmt.Errorf("%q is not the hash of a commit", text)
	}
	return Hash(plumbing.NewHash(text)), nil
}

// IsZero reports whether the hash names nothing.
func (h Hash) IsZero() bool { return h == Hash{} }

// String returns the forty digits.
func (h Hash) String() string {
	if h.IsZero() {
		return ""
	}
	return plumbing.Hash(h).String()
}

// Short returns the first digits, as people write a commit.
func (h Hash) Short() string {
	const digits = 7
	return h.String()[:min(digits, len(h.String()))]
}

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*h = Hash{}
		return nil
	}
	*h, err = ParseHash(string(text))
	return err
}

// plain converts hashes to go-git's type.
func plain(hashes []Hash) []plumbing.Hash {
	all := make([]plumbing.Hash, 0, len(hashes))
	for _, h := range hashes {
		all = append(all, plumbing.Hash(h))
	}
	return all
}

func sortHashes(hashes []Hash) {
	slices.SortFunc(hashes, func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
}
