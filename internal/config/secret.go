package config

import (
	"net/url"
	"strings"
)

// hidden replaces text that must not be shown.
const hidden = "***"

// Secret is text that no log, error or %+v shows; only Reveal does. The text is behind a
// pointer because fmt prints the content of a struct's unexported fields, but not what a
// pointer in them points to. Compare secrets with reflect.DeepEqual.
type Secret struct{ text *string }

// NewSecret hides text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text itself, for the code that needs it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String shows only whether there is a text.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return hidden
}

// SecretURL is a URL that may contain a token, which is hidden when it is printed.
type SecretURL struct {
	shown string
	full  Secret
}

// Reveal returns the whole URL.
func (u SecretURL) Reveal() string { return u.full.Reveal() }

// String returns the URL with its secret part hidden.
func (u SecretURL) String() string { return u.shown }

// hasPassword reports whether the URL contains a password.
func (u SecretURL) hasPassword() bool {
	full, err := url.Parse(u.Reveal())
	if err != nil || full.User == nil {
		return false
	}
	password, _ := full.User.Password()
	return password != ""
}

// hideUserinfo hides the password and, with http(s), also the user name: git servers accept a
// token as either.
func hideUserinfo(u url.URL) string {
	user := u.User
	u.User = nil
	shown := u.String()
	if user == nil {
		return shown
	}
	name := user.String()
	if _, password := user.Password(); password {
		name = url.User(user.Username()).String() + ":" + hidden
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		name = hidden
	}
	return strings.Replace(shown, "://", "://"+name+"@", 1)
}

// hidePath hides all but the scheme and host: a webhook's path is its password.
func hidePath(u url.URL) string {
	return u.Scheme + "://" + u.Host + "/" + hidden
}
