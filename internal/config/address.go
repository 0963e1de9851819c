package config

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"pgo/internal/ports"
)

var (
	hostname = regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9])?)*$`)
	scpForm  = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.-]*)@([^:/@\[\]]+|\[[0-9a-fA-F:]+\]):/?([^:/].*)$`)
)

func isHost(text string) bool { return len(text) <= 253 && hostname.MatchString(text) }

// hostPort splits host[:port]. The host is in lower case, and the port is 0 if there is none.
// A host is a name, an IPv4 address, or an IPv6 address in brackets.
func hostPort(text string) (host string, port int, ok bool) {
	host, portText := text, ""
	colon := strings.LastIndexByte(text, ':')
	if colon > strings.LastIndexByte(text, ']') {
		host, portText = text[:colon], text[colon+1:]
		if port, ok = parsePort(portText); !ok {
			return "", 0, false
		}
	}
	if inner, found := strings.CutPrefix(host, "["); found {
		inner, closed := strings.CutSuffix(inner, "]")
		address, err := netip.ParseAddr(inner)
		return "[" + address.String() + "]", port, closed && err == nil && address.Is6() && address.Zone() == ""
	}
	return strings.ToLower(host), port, isHost(host)
}

func parsePort(text string) (int, bool) {
	port, err := strconv.ParseUint(text, 10, 16)
	return int(port), err == nil && port > 0
}

func parseHost(text string) (string, error) {
	if !isHost(text) {
		return "", wrong("", "%s is not a host name", quote(text))
	}
	return strings.ToLower(text), nil
}

// parseTrusted takes a network of IPv4 or IPv6 addresses.
func parseTrusted(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	meant := network.Masked()
	if address, notOne := netip.ParseAddr(text); notOne == nil && address.Zone() == "" {
		meant, _ = address.Unmap().Prefix(address.Unmap().BitLen())
	} else if err == nil && network.Addr().Is4In6() && network.Bits() >= 96 {
		meant, _ = network.Addr().Unmap().Prefix(network.Bits() - 96)
	}
	switch {
	case !meant.IsValid() || meant.Addr().Is4In6():
		return meant, wrong(`write an address and its prefix length, such as "10.0.0.0/8" or "fd00::/8"`, "%s is not a network", quote(text))
	case network != meant:
		return meant, wrong("did you mean "+quote(meant.String())+"?", "%s is not how a network is written", quote(text))
	}
	return meant, nil
}

// parsePortRange takes n, n-m, or n/x for the ports n to n+x.
func parsePortRange(text string) (ports.Range, error) {
	separator := strings.IndexAny(text, "-/")
	firstText, lastText := text, text
	if separator >= 0 {
		firstText, lastText = text[:separator], text[separator+1:]
	}
	first, ok := parsePort(firstText)
	last, err := strconv.ParseUint(lastText, 10, 16)
	r := ports.Range{First: first, Last: int(last)}
	if separator >= 0 && text[separator] == '/' {
		r.Last += first
	}
	switch {
	case strings.Contains(text, ":"):
		return ports.Range{}, wrong("write the host's port alone", "%s maps ports", quote(text))
	case !ok || err != nil || r.Last > 65535:
		return ports.Range{}, wrong(`write "8080", "9000-9010", or "5005/5" for 5005 to 5010`, "%s is not a range of ports from 1 to 65535", quote(text))
	case r.Last < r.First:
		return ports.Range{}, wrong("", "%s ends before it begins", quote(text))
	}
	return r, nil
}

// schemes are the URL schemes of git repositories.
var schemes = []string{"https", "http", "ssh", "git", "file"}

// parseRepository takes a git URL, or git@host:path for ssh://git@host/path. A token with a
// character that is not encoded may end up in any part of it, so no part is ever shown.
func parseRepository(text string) (SecretURL, error) {
	if m := scpForm.FindStringSubmatch(text); m != nil {
		text = (&url.URL{Scheme: "ssh", User: url.User(m[1]), Host: m[2], Path: "/" + m[3]}).String()
	}
	const forms = "write https://host/path, ssh://git@host/path, git@host:path, git://host/path or file:///path"
	u, err := url.Parse(text)
	switch {
	case err != nil || !isPrintable(text):
		return SecretURL{}, wrong("in a user name or token write % and two hexadecimal digits for characters such as / @ : # % and <", "not a valid URL")
	case !strings.Contains(text, "://") || !slices.Contains(schemes, u.Scheme):
		return SecretURL{}, wrong(forms, "not the URL of a git repository")
	case u.Path == "" || u.Path == "/":
		return SecretURL{}, wrong(forms, "a URL without a path")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return SecretURL{}, wrong("in a token write %3F for ? and %23 for #", "a ? or # in the URL")
	case strings.Contains(u.EscapedPath(), "@"):
		return SecretURL{}, wrong("in a token write %2F for /; in a path write %40 for @", "an @ after the host")
	case u.Scheme == "file":
		if u.Host != "" || u.User != nil {
			return SecretURL{}, wrong("write file:///path, with three slashes", "a file on another host")
		}
	default:
		if _, _, ok := hostPort(u.Host); !ok {
			return SecretURL{}, wrong(forms, "no valid host or port before the path")
		}
	}
	return SecretURL{hideUserinfo(*u), NewSecret(u.String())}, nil
}

// parseRegistry takes user:token@host[:port].
func parseRegistry(text string) (Registry, error) {
	at := strings.LastIndexByte(text, '@')
	user, token, found := strings.Cut(text[:max(at, 0)], ":")
	_, _, ok := hostPort(text[at+1:])
	const form = "write user:token@host or user:token@host:port"
	const forms = form + "; for a token alone, miekg/pgo takes the service's user as the user"
	switch {
	case scheme.MatchString(text): // otherwise the scheme would be the user
		return Registry{}, wrong(form, "not an account at a registry: it is a URL")
	case !found && ok && at > 0:
		return Registry{}, wrong(forms, "not an account at a registry: there is only one name before the @")
	case !found || !ok || user == "" || token == "" || !isPrintable(text):
		return Registry{}, wrong(form, "not an account at a registry")
	}
	return Registry{strings.ToLower(text[at+1:]), user, NewSecret(token)}, nil
}

// parseNotify takes the URL of a webhook, whose path is its password.
func parseNotify(text string) (SecretURL, error) {
	u, err := url.Parse(text)
	if err == nil && isPrintable(text) && (u.Scheme == "https" || u.Scheme == "http") {
		if _, _, ok := hostPort(u.Host); ok {
			return SecretURL{hidePath(*u), NewSecret(u.String())}, nil
		}
	}
	return SecretURL{}, wrong("write https://host/path", "not the URL of a webhook")
}

// parseDockerHost takes unix:///path or tcp://host:port.
func parseDockerHost(text string) (string, error) {
	if path, found := strings.CutPrefix(text, "unix://"); found && strings.HasPrefix(path, "/") && !strings.HasSuffix(path, "/") && isPrintable(path) {
		return text, nil
	}
	if address, found := strings.CutPrefix(text, "tcp://"); found {
		if _, port, ok := hostPort(address); ok && port != 0 {
			return text, nil
		}
	}
	return "", wrong("write unix:///path or tcp://host:port", "%s is not the address of a Docker engine", quote(text))
}

// isPrintable reports whether text has neither spaces nor control characters.
func isPrintable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}
