package config

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// These values are written into a Caddyfile later. The grammar excludes every character that is
// special there: space, quote, brace, backslash and #.

var (
	// Names on a Docker network, of at most maxTargetHost.
	targetHost = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
	scheme     = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	pathPrefix = regexp.MustCompile(`^(/[A-Za-z0-9._~+-]+)*/?$`)
)

const maxTargetHost = 128

// readRoutes reads urls, a table that maps URLs to their targets.
func readRoutes(s *Service, v value) {
	table, ok := v.raw.(map[string]any)
	if !ok {
		v.isNot(aTable)
	}
	if len(table) > maxEntries {
		v.complain(wrong("", "more than %d URLs", maxEntries))
		return
	}
	targets := 0
	for _, text := range slices.Sorted(maps.Keys(table)) {
		if strings.Contains(text, "@") { // the key may hold a password and must not be shown
			v.complain(wrong("", "a URL here cannot have a user name"))
			continue
		}
		at := v.key(text)
		if _, isTable := at.raw.(map[string]any); isTable { // text is the first label of a host
			at.complain(wrong(`put the URL in quotes: "app.example.org" = "web:8080"`, "expected a string, found a table"))
			continue
		}
		if text == "" {
			at.complain(wrong(`write a URL, such as "app.example.org" = "web:8080"`, "an empty URL"))
			continue
		}
		route, err := parseRoute(text)
		if err != nil {
			at.complain(err)
		}
		if _, isList := at.list(); isList {
			at.complain(wrong(`put several targets in one string, separated by spaces: "web:8080 web2:8080"`, "expected a string, found a list"))
		} else {
			route.Targets = read(at, parseTargets)
		}
		if targets += len(route.Targets); targets > maxEntries {
			v.complain(wrong("", "more than %d targets", maxEntries))
			return
		}
		s.URLs = append(s.URLs, route)
	}
}

// parseRoute takes [http[s]://]host[:port][/path], where the host may begin with "*.".
func parseRoute(text string) (Route, error) {
	r := Route{URL: text, Scheme: "https"}
	rest, secure := strings.CutPrefix(text, "https://")
	rest, plain := strings.CutPrefix(rest, "http://")
	address, path := rest, ""
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		address, path = rest[:slash], rest[slash:]
	}
	name, wildcard := strings.CutPrefix(address, "*.")
	host, port, ok := hostPort(name)
	isAddress, ok := isSiteHost(host, ok)
	ascii, foreign := asciiHost(name)
	switch {
	case scheme.MatchString(text) && !secure && !plain:
		return r, wrong(`begin it with "http://", "https://" or the host name`, "only http:// and https:// are known, in lower case")
	case foreign:
		return r, wrong("write "+quote(strings.Replace(text, name, ascii, 1)), "a host name with letters other than a to z")
	case !ok || secure && plain || wildcard && isAddress:
		return r, wrong(`write a host name, such as "app.example.org", "http://app.example.org:8080" or "*.example.org/path"`, "not a host[:port]")
	case strings.Contains(path, "%"): // Caddy matches such a path by different rules
		return r, wrong("write a prefix without it", "a %% in the path")
	case !pathPrefix.MatchString(path) || slices.ContainsFunc(strings.Split(path, "/"), endsInDot):
		return r, wrong("use letters, digits and . _ ~ + - between the slashes, and no . before a slash or at the end", "not a path")
	case isAddress && !plain && port != 80:
		return r, wrong("write http:// before it, or a host name", "HTTPS to an address: a certificate is chosen by host name, which a client does not send for an address")
	case plain && port == 443 || secure && port == 80:
		return r, wrong("", "the scheme and port %d contradict each other", port)
	}
	if plain || port == 80 {
		r.Scheme = "http"
	}
	if port == 0 {
		port = map[string]int{"http": 80, "https": 443}[r.Scheme]
	}
	if wildcard {
		host = "*." + host
	}
	r.Host, r.Port, r.Path = host, port, strings.TrimSuffix(path, "/")
	return r, nil
}

// isSiteHost reports whether a host can have a site of its own, and whether it is an address. A
// browser takes a name that ends in digits for an address, and Caddy refuses an invalid xn-- label.
func isSiteHost(host string, valid bool) (isAddress, ok bool) {
	if !valid || strings.Contains(host, "_") {
		return false, false
	}
	if address, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true, !address.Is4In6()
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	ascii, err := idna.ToASCII(host)
	tooLong := slices.ContainsFunc(strings.Split(host, "."), func(label string) bool { return len(label) > 63 })
	return false, err == nil && ascii == host && !tooLong && strings.Trim(last, "0123456789") != ""
}

// asciiHost returns the ASCII form of a host[:port] whose name has letters other than a to z.
func asciiHost(address string) (ascii string, foreign bool) {
	name, port, hasPort := strings.Cut(address, ":")
	ascii, err := idna.Lookup.ToASCII(name)
	if _, ok := isSiteHost(ascii, isHost(ascii)); err != nil || !ok || ascii == strings.ToLower(name) {
		return "", false
	}
	if hasPort {
		ascii += ":" + port
	}
	return ascii, true
}

// endsInDot reports whether a segment is "." or "..", which no request contains, or another one
// that Caddy does not match literally.
func endsInDot(segment string) bool { return strings.HasSuffix(segment, ".") }

// address is the same for two routes that the proxy cannot tell apart. Caddy ignores case in
// paths, too.
func (r Route) address() string {
	return fmt.Sprintf("%s://%s:%d%s", r.Scheme, r.Host, r.Port, strings.ToLower(r.Path))
}

// parseTargets takes one or several service:port, separated by spaces.
func parseTargets(text string) ([]Target, error) {
	var targets []Target
	for word := range strings.SplitSeq(text, " ") {
		if word == "" {
			continue
		}
		host, portText, _ := strings.Cut(word, ":")
		port, ok := parsePort(portText)
		valid := len(host) <= maxTargetHost && targetHost.MatchString(host)
		switch {
		case valid && !ok && portText != "" && strings.Trim(portText, "0123456789") == "":
			return nil, wrong("write a port from 1 to 65535", "%s has no such port", quote(word))
		case !valid || !ok:
			return nil, wrong(`write service:port, such as "web:8080", or several separated by spaces`, "%s is not a target", quote(word))
		}
		targets = append(targets, Target{host, port})
	}
	if len(targets) == 0 {
		return nil, wrong(`write service:port, such as "web:8080"`, "no target")
	}
	return targets, nil
}
