package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// What is read here is written into a Caddyfile later. The grammar leaves no room for
// anything that means something there: no space, quote, brace, backslash or #.

var (
	// Names on a Docker network.
	targetHost = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)
	pathPrefix = regexp.MustCompile(`^(/[A-Za-z0-9._~%+-]+)*/?$`)
)

// readRoutes reads urls, a table of URLs and their targets.
func readRoutes(s *Service, v value) {
	table, ok := v.raw.(map[string]any)
	if !ok {
		v.isNot(aTable)
	}
	for _, text := range slices.Sorted(maps.Keys(table)) {
		if strings.Contains(text, "@") { // then the key itself must not be shown
			v.complain(wrong("", "a URL here has no user name"))
			continue
		}
		at := v.key(text)
		route, err := parseRoute(text)
		if err != nil {
			at.complain(err)
		}
		route.Targets = read(at, parseTargets)
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
	wildcard := strings.HasPrefix(address, "*.")
	host, port, ok := hostPort(strings.TrimPrefix(address, "*."))
	switch {
	case !ok || strings.Contains(host, "_") || secure && plain || wildcard && host[0] == '[':
		return r, wrong(`write a host name, such as "app.example.org", "http://app.example.org:8080" or "*.example.org/path"`, "not a host[:port]")
	case !pathPrefix.MatchString(path):
		return r, wrong("use letters, digits and . _ ~ % + - between the slashes", "not a path")
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

// address is the same for two routes that the proxy could not tell apart.
func (r Route) address() string {
	return fmt.Sprintf("%s://%s:%d%s", r.Scheme, r.Host, r.Port, r.Path)
}

// parseTargets takes service:port, or several with spaces between.
func parseTargets(text string) ([]Target, error) {
	var targets []Target
	for _, word := range strings.Split(text, " ") {
		host, portText, _ := strings.Cut(word, ":")
		port, ok := parsePort(portText)
		if !ok || !targetHost.MatchString(host) {
			return nil, wrong(`write service:port, such as "web:8080", or several with a space between`, "%s is no target", quote(word))
		}
		targets = append(targets, Target{host, port})
	}
	return targets, nil
}
