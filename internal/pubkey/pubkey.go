// Package pubkey decides which public keys can log in, and why others never could. It is the only
// place that decides: the listener asks it at each login, and the code that reads a file of keys
// asks it in advance. It must not know whose keys they are.
package pubkey

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"
)

// The time to check an RSA signature grows with the square of the key's length: 16 kbit, which the
// library accepts, takes thirty times as long as 4 kbit.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// maxBlob is more than the largest RSA key needs; all keys of a service are sent in one message.
const maxBlob = 2 << 10

// Refusal is why a key cannot log in.
type Refusal struct {
	Why  string // on one line, without any of the key's text
	Hint string // what to do instead
}

func (r *Refusal) Error() string { return r.Why + "; " + r.Hint }

const useEd25519 = "use ed25519"

var (
	errNotOne      = &Refusal{"it is not a public key", "copy one from a .pub file"}
	errDSA         = &Refusal{"DSA keys are too weak", useEd25519}
	errOptions     = &Refusal{"options before a key are not supported", "leave them out"} // ignoring a restriction would grant more
	errTwo         = &Refusal{"there are two keys on one line", "write each on its own line"}
	errCertificate = &Refusal{"certificates are not supported", "write the public key itself"}
	errWeak        = &Refusal{fmt.Sprintf("RSA keys of less than %d bits are too weak", minRSABits), useEd25519}
	errMalformed   = &Refusal{"it is not a valid RSA key", useEd25519}
	errLarge       = &Refusal{fmt.Sprintf("it is larger than %d bytes", maxBlob), useEd25519}

	errUTF16 = &Refusal{"the file is in UTF-16, as PowerShell's > writes it", "save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE prints it so"}
	errPuTTY = &Refusal{`the public key is in the format of PuTTYgen's "Save public key" (RFC 4716)`, "write what ssh-keygen -i -f FILE prints"}
	errPKCS8 = &Refusal{"the public key is in the format PKCS8", "write what ssh-keygen -i -m PKCS8 -f FILE prints"}
	errPEM   = &Refusal{"the public key is in the format PEM", "write what ssh-keygen -i -m PEM -f FILE prints"}
	formats  = map[string]*Refusal{
		"---- BEGIN SSH2 PUBLIC KEY ----": errPuTTY,
		"-----BEGIN PUBLIC KEY-----":      errPKCS8,
		"-----BEGIN RSA PUBLIC KEY-----":  errPEM,
	}

	// ErrPrivate refuses a private key. Whoever could read it can log in as its owner.
	ErrPrivate = &Refusal{"this is a private key", "copy the public key from the .pub file, and make a new pair if others could read this file"}

	// ErrOversized refuses an RSA key whose signatures take too long to check.
	ErrOversized = &Refusal{fmt.Sprintf("RSA keys of more than %d bits are not accepted", maxRSABits), useEd25519}
)

// Algorithms returns the signature algorithms that a login accepts: neither SHA-1 nor DSA.
func Algorithms() []string { return ssh.SupportedAlgorithms().PublicKeyAuths }

// Check returns why a key cannot log in, whoever has it; nil means that it can.
func Check(key ssh.PublicKey) *Refusal {
	certificate, isCertificate := key.(*ssh.Certificate)
	if isCertificate {
		key = certificate.Key
	}
	if refusal := checkRSA(key); refusal != nil {
		return refusal
	}
	switch {
	case isCertificate:
		return errCertificate
	case key.Type() != ssh.KeyAlgoRSA && !slices.Contains(Algorithms(), key.Type()):
		return &Refusal{"keys of the type " + key.Type() + " are not supported", useEd25519}
	case len(key.Marshal()) > maxBlob:
		return errLarge
	}
	return nil
}

func checkRSA(key ssh.PublicKey) *Refusal {
	if key.Type() != ssh.KeyAlgoRSA {
		return nil
	}
	public, ok := key.(ssh.CryptoPublicKey).CryptoPublicKey().(*rsa.PublicKey)
	switch {
	case !ok:
		return errMalformed
	case public.N.BitLen() > maxRSABits:
		return ErrOversized
	case public.N.BitLen() < minRSABits:
		return errWeak
	case public.N.Bit(0) == 0: // no signature is ever right
		return errMalformed
	}
	return nil
}

// Entry is a line of a file of keys.
type Entry struct {
	Line int
	Key  ssh.PublicKey // one that can log in; nil: there is none
	Err  *Refusal      // what is wrong with the line; nil: nothing
}

// byteOrderMark begins what some editors of Windows write, or each of several such files in one.
const byteOrderMark = '\ufeff'

// File returns the entries of a file in authorized_keys format. A key in another format is one
// entry, though it has several lines.
func File(content []byte) []Entry {
	if isUTF16(content) {
		return []Entry{{1, nil, errUTF16}}
	}
	var entries []Entry
	number, otherFormat := 0, false
	for line := range bytes.Lines(content) {
		number++
		line = bytes.TrimFunc(line, func(r rune) bool { return unicode.IsSpace(r) || r == byteOrderMark })
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, refusal := parse(line)
		if otherFormat && refusal == errNotOne {
			continue // the other lines of that key
		}
		otherFormat = otherFormat || refusal == ErrPrivate || refusal != nil && formats[string(line)] == refusal
		entries = append(entries, Entry{number, key, refusal})
	}
	return entries
}

func parse(line []byte) (ssh.PublicKey, *Refusal) {
	key, comment, options, _, err := ssh.ParseAuthorizedKey(line)
	switch {
	case err != nil && bytes.HasPrefix(line, []byte("ssh-dss ")): // the library no longer supports DSA
		return nil, errDSA
	case err != nil && isPrivate(line):
		return nil, ErrPrivate
	case err != nil && formats[string(line)] != nil:
		return nil, formats[string(line)]
	case err != nil:
		return nil, errNotOne
	case len(options) > 0:
		return nil, errOptions
	}
	if refusal := Check(key); refusal != nil {
		return nil, refusal
	}
	if holdsKey(comment) { // the second one is ignored
		return key, errTwo
	}
	return key, nil
}

// isUTF16 reports whether a file is in UTF-16, with or without a byte order mark: one of its first
// two bytes is 0 then, as all that a key has is ASCII.
func isUTF16(content []byte) bool {
	return bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) ||
		len(content) > 1 && (content[0] == 0) != (content[1] == 0)
}

// isPrivate reports whether a line begins a private key of OpenSSH, OpenSSL or PuTTY.
func isPrivate(line []byte) bool {
	text := string(line)
	return strings.HasPrefix(text, "-----BEGIN ") && strings.HasSuffix(text, "PRIVATE KEY-----") || IsPuTTYs(text)
}

// IsPuTTYs reports whether a file is a private key of PuTTY, which nothing here reads.
func IsPuTTYs(content string) bool { return strings.HasPrefix(content, "PuTTY-User-Key-File-") }

// ConvertPuTTYs says how to make one that can be read.
const ConvertPuTTYs = "puttygen FILE -O private-openssh -o NEW converts it"

// holdsKey reports whether a comment contains a key, because of a missing newline.
func holdsKey(comment string) bool {
	return slices.ContainsFunc(strings.Fields(comment), func(word string) bool {
		blob, err := base64.StdEncoding.DecodeString(word)
		if err == nil {
			_, err = ssh.ParsePublicKey(blob)
		}
		return err == nil
	})
}
