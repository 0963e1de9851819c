package caddyfile

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgo/internal/config"
)

// check gives the urls of services to Caddy and asks for each of them, and for what is near
// to them.
func (c *caddy) check(t testing.TB, services []config.Service) {
	t.Helper()
	c.checkRouting(t, services, adapt(t, Render(services)))
}

func (c *caddy) checkRouting(t testing.TB, services []config.Service, adapted []byte) {
	t.Helper()
	servers := c.load(t, adapted)
	var routes []config.Route
	hosts, paths := map[string]bool{"other.invalid": true}, map[string]bool{"/": true}
	for _, s := range services {
		for _, r := range s.URLs {
			routes = append(routes, r)
			host := strings.Replace(r.Host, "*", "w1ld", 1)
			for _, near := range []string{host, strings.ToUpper(host), "sub." + host, strings.TrimPrefix(host, "w1ld."), fmt.Sprintf("%s:%d", host, r.Port)} {
				hosts[near] = true
			}
			for _, near := range []string{"", "/", "/x", "/x/y/z", "foo", "?query=/a"} {
				paths[r.Path+near] = true
			}
			paths[strings.ToUpper(r.Path)+"/x"] = true
		}
	}
	for _, r := range routes {
		s, found := servers[r.Port]
		if !found {
			t.Errorf("%s: caddy does not listen on %d", r.URL, r.Port)
			continue
		}
		plain := slices.Contains(s.Automatic.Skip, strings.Trim(r.Host, "[]")) || r.Port == 80
		if plain != (r.Scheme == "http") {
			t.Errorf("%s: caddy serves it without TLS: %v", r.URL, plain)
		}
	}
	for port := range servers {
		for host := range hosts {
			for path := range paths {
				if strings.HasPrefix(path, "/") {
					c.checkRequest(t, routes, port, host, path)
				}
			}
		}
	}
}

func (c *caddy) checkRequest(t testing.TB, routes []config.Route, port int, host, uri string) {
	t.Helper()
	status, body, err := c.ask(c.port(port), host, uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantStatus, want := expected(routes, port, host, uri)
	if status != wantStatus || body != want {
		t.Errorf("port %d, host %s, %s: caddy answers %d %q, want %d %q", port, host, uri, status, body, wantStatus, want)
	}
}

// expected is what the urls say, with nothing in common with how Render writes it.
func expected(routes []config.Route, port int, host, uri string) (status int, body string) {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	_, parent, _ := strings.Cut(host, ".")
	u, err := url.Parse(uri)
	if err != nil {
		panic(err)
	}
	for _, name := range []string{host, "*." + parent} { // the exact one wins
		known, best := false, config.Route{}
		for _, r := range routes {
			if r.Port != port || strings.Trim(r.Host, "[]") != name {
				continue
			}
			known = true
			below := strings.HasPrefix(strings.ToLower(u.Path)+"/", strings.ToLower(r.Path)+"/")
			if below && (best.Targets == nil || len(r.Path) > len(best.Path)) {
				best = r
			}
		}
		switch {
		case best.Targets != nil:
			var targets []string
			for _, target := range best.Targets {
				targets = append(targets, fmt.Sprintf("%s:%d", target.Host, target.Port))
			}
			slices.Sort(targets)
			return http.StatusOK, strings.Join(targets, " ") + " " + uri
		case known:
			return http.StatusNotFound, ""
		}
	}
	return http.StatusOK, "" // as Caddy answers where it has no site
}
