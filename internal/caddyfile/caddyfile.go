// Package caddyfile writes the snippet that a Caddyfile imports: the URLs of all services, and
// where their requests go. It trusts the configuration, whose grammar leaves no room for
// anything that has a meaning in a Caddyfile. It must not know where the snippet is kept, nor
// how the proxy is reloaded.
package caddyfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pgo/internal/config"
)

const head = `# Written by pgo: the urls of all services. It is written again when they change, so
# nothing else can be kept here.
`

// site is what Caddy has one block for: it takes no two for one address.
type site struct {
	scheme, host string
	port         int
}

// entry is one URL, or a redirect, which has no targets.
type entry struct {
	site
	path    string
	service string
	targets []config.Target
}

// Render returns the snippet for the urls of these services. It is the same in whatever
// order they come.
func Render(services []config.Service) string {
	var entries []entry
	for _, s := range services {
		for _, r := range s.URLs {
			entries = append(entries, entry{site{r.Scheme, r.Host, r.Port}, r.Path, s.Name, r.Targets})
		}
	}
	slices.SortFunc(entries, compare)
	secure := securePorts(entries)
	entries = append(entries, ownRedirects(entries, secure)...)
	slices.SortFunc(entries, compare)

	var b strings.Builder
	b.WriteString(head)
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && entries[n].site == entries[0].site {
			n++
		}
		b.WriteByte('\n')
		rest := "respond 404" // left alone, Caddy would say 200
		host := entries[0].host
		if port := cmp.Or(secure[host], secure[wildcard(host)]); port != 0 && entries[0].plain() {
			rest = redirect(port)
		}
		writeSite(&b, entries[:n], rest)
		entries = entries[n:]
	}
	return b.String()
}

// securePorts returns, by host, the port to which requests with HTTP are sent on: of several
// 443, else the lowest. The entries are in order.
func securePorts(entries []entry) map[string]int {
	ports := map[string]int{}
	for _, e := range entries {
		if e.scheme == "https" && (ports[e.host] == 0 || e.port == 443) {
			ports[e.host] = e.port
		}
	}
	return ports
}

// ownRedirects returns an entry without targets for each host whose redirect to HTTPS cannot
// be left to Caddy. That puts its own behind all sites with HTTP, where a wildcard's takes the
// requests, and in no certain order, which matters where the wildcard's leads to another port.
// Of several ports it takes any, unless one is 443.
func ownRedirects(entries []entry, secure map[string]int) []entry {
	plain, several := map[string]bool{}, map[string]bool{}
	for _, e := range entries {
		plain[e.host] = plain[e.host] || e.plain()
		several[e.host] = several[e.host] || e.scheme == "https" && e.port != secure[e.host]
	}
	done := map[string]bool{}
	var own []entry
	for _, e := range entries {
		if e.port != secure[e.host] || plain[e.host] || done[e.host] {
			continue
		}
		above := wildcard(e.host)
		if plain[above] || cmp.Or(secure[above], e.port) != e.port || several[e.host] && e.port != 443 {
			own = append(own, entry{site: site{"http", e.host, 80}, service: e.service})
			done[e.host] = true
		}
	}
	return own
}

// wildcard is the one that matches this host, too.
func wildcard(host string) string {
	_, parent, _ := strings.Cut(host, ".")
	return "*." + parent
}

// compare orders by site, and within one puts the longest path first: the first that
// matches is taken.
func compare(a, b entry) int {
	return cmp.Or(
		cmp.Compare(a.host, b.host), cmp.Compare(a.port, b.port), cmp.Compare(a.scheme, b.scheme),
		-cmp.Compare(len(a.path), len(b.path)), cmp.Compare(a.path, b.path), cmp.Compare(a.service, b.service),
	)
}

// writeSite writes the block of one site. The rest is for requests that are not listed.
func writeSite(b *strings.Builder, entries []entry, rest string) {
	if only := entries[0]; only.path == "" {
		does := rest
		if only.targets != nil {
			does = only.proxy("\t")
		}
		fmt.Fprintf(b, "# %s\n%s {\n\t%s\n}\n", only.service, only.address(), does)
		return
	}
	fmt.Fprintf(b, "%s {\n", entries[0].address())
	for i, e := range entries {
		matcher := ""
		fmt.Fprintf(b, "\t# %s\n", e.service)
		if e.path != "" {
			// Without the second slash it would be the path of others, too.
			matcher = fmt.Sprintf("@%d ", i+1)
			fmt.Fprintf(b, "\t%spath %s %s/*\n", matcher, e.path, e.path)
		}
		fmt.Fprintf(b, "\thandle %s{\n\t\t%s\n\t}\n", matcher, e.proxy("\t\t"))
	}
	if entries[len(entries)-1].path != "" {
		fmt.Fprintf(b, "\thandle {\n\t\t%s\n\t}\n", rest)
	}
	b.WriteString("}\n")
}

// redirect is as Caddy's own.
func redirect(port int) string {
	host := "{host}"
	if port != 443 {
		host = fmt.Sprintf("{host}:%d", port)
	}
	return fmt.Sprintf("redir https://%s{uri} 308", host)
}

// plain is true where Caddy, left alone, may have a redirect to HTTPS.
func (s site) plain() bool { return s.scheme == "http" && s.port == 80 }

// address is bare where it can be, which Caddy reads as HTTPS with a redirect from HTTP.
func (s site) address() string {
	switch {
	case s.scheme == "https" && s.port == 443:
		return s.host
	case s.plain():
		return "http://" + s.host
	}
	return fmt.Sprintf("%s://%s:%d", s.scheme, s.host, s.port)
}

// proxy is where the requests go, with the lines of its block indented by that.
func (e entry) proxy(indent string) string {
	words := []string{"reverse_proxy"}
	for _, t := range e.targets {
		words = append(words, fmt.Sprintf("%s:%d", t.Host, t.Port))
	}
	line := strings.Join(words, " ")
	if len(e.targets) > 1 {
		// Else requests would be lost for as long as one of several is away.
		line += " {\n" + indent + "\tlb_try_duration 5s\n" + indent + "\tfail_duration 10s\n" + indent + "}"
	}
	return line
}
