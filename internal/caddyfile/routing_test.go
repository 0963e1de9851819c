package caddyfile

import (
	"encoding/json"
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
	checkHandlers(t, services, adapted)
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

// checkHandlers holds what Caddy made of a snippet against the urls: there is nothing else in it.
func checkHandlers(t testing.TB, services []config.Service, adapted []byte) {
	t.Helper()
	var decoded any
	if err := json.Unmarshal(adapted, &decoded); err != nil {
		t.Fatal(err)
	}
	proxies, sites, hosts := 0, map[string]bool{}, map[string]bool{}
	for _, s := range services {
		proxies += len(s.URLs)
		for _, r := range s.URLs {
			sites[fmt.Sprintf("%s:%d", r.Host, r.Port)] = true
			hosts[strings.Trim(r.Host, "[]")] = true
		}
	}
	var walk func(raw any)
	matched := 0
	walk = func(raw any) {
		switch raw := raw.(type) {
		case []any:
			for _, element := range raw {
				walk(element)
			}
		case map[string]any:
			switch raw["handler"] {
			case "reverse_proxy":
				proxies--
			case nil, "subroute", "static_response":
			default:
				t.Errorf("a handler of its own: %v", raw["handler"])
			}
			if list, ok := raw["host"].([]any); ok {
				matched++
				if host, ok := list[0].(string); !ok || len(list) != 1 || !hosts[host] {
					t.Errorf("a host of its own: %q", list)
				}
			}
			for _, element := range raw {
				walk(element)
			}
		}
	}
	walk(decoded)
	if proxies != 0 || matched != len(sites) {
		t.Errorf("%d proxies less than urls, %d sites instead of %d", proxies, matched, len(sites))
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
	asked := host
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
		case known && port == 80 && slices.ContainsFunc(routes, func(r config.Route) bool { return r.Host == name && r.Port == 443 }):
			return http.StatusPermanentRedirect, "https://" + asked + uri
		case known:
			return http.StatusNotFound, ""
		}
	}
	return http.StatusOK, "" // as Caddy answers where it has no site
}
