package caddyfile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgo/internal/config"
)

// check gives the urls of services to Caddy, and requests each of them and others that are similar.
func (c *caddy) check(t testing.TB, services []config.Service) {
	t.Helper()
	c.checkRouting(t, services, adapt(t, Render(services, "/etc/caddy/.urls.switch.")))
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
	ports := slices.Collect(maps.Keys(servers))
	if _, found := servers[80]; !found && slices.ContainsFunc(routes, isHTTPS) {
		ports = append(ports, 80) // only for redirects
	}
	for _, port := range ports {
		for host := range hosts {
			for path := range paths {
				if strings.HasPrefix(path, "/") {
					c.checkRequest(t, routes, port, host, path)
				}
			}
		}
	}
}

// checkHandlers checks that what Caddy made of a snippet has the urls and nothing else.
func checkHandlers(t testing.TB, services []config.Service, adapted []byte) {
	t.Helper()
	var decoded any
	var config struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Listen []string
					Routes []struct{ Match []struct{ Host []string } }
				}
			}
		}
	}
	if err := cmp.Or(json.Unmarshal(adapted, &decoded), json.Unmarshal(adapted, &config)); err != nil {
		t.Fatal(err)
	}
	proxies, sites := 0, map[string]bool{} // true: the site must exist; false: it may
	for _, s := range services {
		proxies += len(s.URLs)
		for _, r := range s.URLs {
			if Switched(s, r) {
				proxies++ // to the container that a switch names
			}
		}
		for _, r := range s.URLs {
			host := strings.Trim(r.Host, "[]")
			sites[fmt.Sprintf("%s:%d", host, r.Port)] = true
			if redirect := host + ":80"; isHTTPS(r) && !sites[redirect] {
				sites[redirect] = false
			}
		}
	}
	for _, s := range config.Apps.HTTP.Servers {
		for _, route := range s.Routes {
			if len(route.Match) != 1 || len(route.Match[0].Host) != 1 {
				t.Errorf("a site does not have exactly one host: %v", route.Match)
				continue
			}
			site := route.Match[0].Host[0] + s.Listen[0]
			if _, known := sites[site]; !known {
				t.Errorf("a site that is not in urls, or is there twice: %s", site)
			}
			delete(sites, site)
		}
	}
	for site, needed := range sites {
		if needed {
			t.Errorf("no site %s", site)
		}
	}
	var walk func(raw any)
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
			case nil, "subroute", "static_response", "map":
			default:
				t.Errorf("unexpected handler: %v", raw["handler"])
			}
			for _, element := range raw {
				walk(element)
			}
		}
	}
	walk(decoded)
	if proxies != 0 {
		t.Errorf("%d fewer proxies than urls", proxies)
	}
}

// checkRequest requests one URL, and follows a redirect to a listed host.
func (c *caddy) checkRequest(t testing.TB, routes []config.Route, port int, host, uri string) {
	t.Helper()
	status, body, err := c.ask(c.port(port), host, uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantStatus, want := expected(routes, port, host, uri)
	if status != wantStatus || body != want {
		t.Errorf("port %d, host %s, %s: caddy answers %d %q, want %d %q", port, host, uri, status, body, wantStatus, want)
		return
	}
	if status != http.StatusPermanentRedirect || !slices.ContainsFunc(names(host), func(name string) bool { return httpsPort(routes, name) != 0 }) {
		return
	}
	to, err := url.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	port = 443
	if to.Port() != "" {
		port, _ = strconv.Atoi(to.Port())
	}
	if to.Scheme != "https" || port == 80 || to.RequestURI() != uri {
		t.Errorf("%s of host %s is redirected to %s", uri, host, body)
	}
	c.checkRequest(t, routes, port, to.Host, uri)
}

func isHTTPS(r config.Route) bool { return r.Scheme == "https" }

// names returns the names in urls that match the host of a request, in order of precedence: a name
// wins over "*.".
func names(host string) []string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	_, parent, _ := strings.Cut(host, ".")
	return []string{host, "*." + parent}
}

// httpsPort returns the port to which a name redirects HTTP: 443, or else its lowest one.
func httpsPort(routes []config.Route, name string) int {
	lowest := 0
	for _, r := range routes {
		switch {
		case !isHTTPS(r) || r.Host != name:
		case r.Port == 443:
			return 443
		case lowest == 0 || r.Port < lowest:
			lowest = r.Port
		}
	}
	return lowest
}

// expected returns the answer that docs/configuration.md promises for urls, independently of how
// Render works. The body of a redirect is its location.
func expected(routes []config.Route, port int, host, uri string) (status int, body string) {
	asked := host
	if name, _, err := net.SplitHostPort(host); err == nil {
		asked = name
	}
	u, err := url.Parse(uri)
	if err != nil {
		panic(err)
	}
	known, listed := false, []config.Route(nil)
	for _, name := range names(host) {
		for _, r := range routes {
			if r.Port == port && strings.Trim(r.Host, "[]") == name {
				listed = append(listed, r)
			}
		}
		// The host decides first; on port 80 its redirect is enough.
		if known = len(listed) > 0 || port == 80 && httpsPort(routes, name) != 0; known {
			break
		}
	}
	var best config.Route // then the longest path decides
	for _, r := range listed {
		below := strings.HasPrefix(strings.ToLower(u.Path)+"/", strings.ToLower(r.Path)+"/")
		if below && (best.Targets == nil || len(r.Path) > len(best.Path)) {
			best = r
		}
	}
	if best.Targets != nil {
		var targets []string
		for _, target := range best.Targets {
			targets = append(targets, fmt.Sprintf("%s:%d", target.Host, target.Port))
		}
		slices.Sort(targets)
		return http.StatusOK, strings.Join(targets, " ") + " " + uri
	}
	to := 0 // requests that are not listed keep their redirect, even that of a "*."
	if port == 80 {
		for _, name := range names(host) {
			to = cmp.Or(to, httpsPort(routes, name))
		}
		if !known && slices.ContainsFunc(routes, isHTTPS) {
			to = 443 // Caddy redirects all unknown hosts there
		}
	}
	switch {
	case to == 443:
		return http.StatusPermanentRedirect, "https://" + asked + uri
	case to != 0:
		return http.StatusPermanentRedirect, fmt.Sprintf("https://%s:%d%s", asked, to, uri)
	case known:
		return http.StatusNotFound, ""
	}
	return http.StatusOK, "" // Caddy's answer without a site
}
