// Package gitserver determines which server a git URL leads to. What pgo connects to, and which
// server gets a token, depends on whether two URLs lead to the same one. It compares names only:
// it must not connect, nor know which servers are allowed.
package gitserver

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Entry is the beginning of an entry of `allow` that lets submodules come from one more server.
// The server follows.
const Entry = "submodule:"

// ports are the schemes' default ports.
var ports = map[string]string{"https": "443", "http": "80", "ssh": "22", "git": "9418"}

// Of returns the server that a URL leads to: https://git.example.org, with a port if it is not
// the scheme's default. A URL is not plain if programs may read its host in different ways. Then
// server is its text as it is, which is the same as no other.
func Of(u *url.URL) (server string, plain bool) {
	verbatim := u.Scheme + "://" + u.Host
	ownPort, known := ports[u.Scheme]
	host, plain := plainHost(u)
	if !known || !plain {
		return verbatim, false
	}
	server = u.Scheme + "://" + host
	switch port := u.Port(); {
	case port == "" || port == ownPort:
		return server, true
	case isPort(port):
		return server + ":" + port, true
	}
	return verbatim, false
}

// maxHost is the maximum length of a name in the DNS.
const maxHost = 253

// plainHost returns a URL's host in lower case, if it is a name or an address that can be read in
// only one way.
func plainHost(u *url.URL) (host string, plain bool) {
	host = u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		address, err := netip.ParseAddr(host)
		return "[" + address.String() + "]", err == nil && address.Is6() && address.Zone() == ""
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" { // a resolver searches differently with a trailing dot
			return "", false
		}
	}
	if strings.ContainsFunc(host, func(r rune) bool { return !nameRune(r) }) || host[0] == '-' || len(host) > maxHost {
		return "", false
	}
	return strings.ToLower(host), true
}

// nameRune accepts only ASCII: beyond it there is a K that is a k to some programs.
func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == text
}

// Parse returns the server that an entry of `allow` names after its colon, as Of does, or what is
// wrong with it.
func Parse(text string) (server, why string) {
	const form = "write " + Entry + " and a server's scheme, host and port alone, such as " + Entry + "https://lib.example.org"
	u, err := url.Parse(text)
	if err != nil {
		return "", form
	}
	server, plain := Of(u)
	switch u.Scheme {
	case "https", "http", "git":
	case "ssh":
		return "", "pgo has no key for another ssh server; " + form
	case "file":
		return "", "submodules come from this machine only where `repository` does; " + form
	default:
		return "", form
	}
	switch {
	case !plain:
		return "", form
	case u.User != nil || u.Path != "" || strings.ContainsAny(text, "?#"):
		return "", "write " + Entry + server
	}
	return server, ""
}

// WithoutUser returns a text that may be a URL, without anything that may be a user and a
// password.
func WithoutUser(text string) string {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return text
	}
	end := strings.IndexByte(rest, '/')
	if end < 0 {
		end = len(rest)
	}
	return scheme + "://" + rest[strings.LastIndexByte(rest[:end], '@')+1:]
}
