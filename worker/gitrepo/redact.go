package gitrepo

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strings"

	"pgo/internal/lazyregexp"
)

const redacted = "***"

var userinfo = lazyregexp.New(`([A-Za-z][A-Za-z0-9+.-]*://)[^/\s"'<>]*@`)

// A redactor removes the secrets of one remote, and of the proxies on the way to it, from texts
// that others wrote: a server may repeat what it was sent, in any of the spellings that it was
// sent in.
type redactor []*strings.Replacer

// newRedactor returns a redactor for credentials. The user's name is a secret only if there is no
// password: then it is the token.
func newRedactor(user, password string) redactor {
	secret := password
	if secret == "" {
		secret = user
	}
	if secret == "" {
		return nil
	}
	basic := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	var pairs []string
	for _, s := range []string{basic, url.UserPassword(user, password).String(), url.QueryEscape(secret), url.PathEscape(secret), secret} {
		pairs = append(pairs, s, redacted)
	}
	return redactor{strings.NewReplacer(pairs...)}
}

func (r redactor) text(s string) string {
	for _, secrets := range r {
		s = secrets.Replace(s)
	}
	return userinfo.ReplaceAllString(s, "${1}"+redacted+"@")
}

// error returns err itself if its text holds no secret, and otherwise one that differs only in
// its text.
func (r redactor) error(err error) error {
	if text := r.text(err.Error()); text != err.Error() {
		return &redactedError{text, err}
	}
	return err
}

type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Is(target error) bool { return errors.Is(e.err, target) }
func (e *redactedError) As(target any) bool   { return errors.As(e.err, target) }
