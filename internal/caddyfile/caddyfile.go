// Package caddyfile writes what a Caddyfile imports: the URLs of all services, and where
// their requests go. It trusts the configuration, whose grammar leaves no room for anything
// that means something in a Caddyfile.
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

// entry is one URL.
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
	secure := map[string]bool{} // hosts whose other requests Caddy would send on to HTTPS
	for _, e := range entries {
		if e.scheme == "https" && e.port == 443 {
			secure[e.host] = true
		}
	}

	var b strings.Builder
	b.WriteString(head)
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && entries[n].site == entries[0].site {
			n++
		}
		b.WriteByte('\n')
		plain := entries[0].scheme == "http" && entries[0].port == 80
		writeSite(&b, entries[:n], plain && secure[entries[0].host])
		entries = entries[n:]
	}
	return b.String()
}

// compare orders by site, and within one puts the longest path first: the first that
// matches is taken.
func compare(a, b entry) int {
	return cmp.Or(
		cmp.Compare(a.host, b.host), cmp.Compare(a.port, b.port), cmp.Compare(a.scheme, b.scheme),
		-cmp.Compare(len(a.path), len(b.path)), cmp.Compare(a.path, b.path), cmp.Compare(a.service, b.service),
	)
}

// writeSite writes the block of one site. What is not listed is sent on to HTTPS where Caddy
// would do so, had the site no URL with HTTP.
func writeSite(b *strings.Builder, entries []entry, toHTTPS bool) {
	if only := entries[0]; only.path == "" {
		fmt.Fprintf(b, "# %s\n%s {\n\t%s\n}\n", only.service, only.address(), only.proxy("\t"))
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
		rest := "respond 404" // left alone, Caddy would say 200
		if toHTTPS {
			rest = "redir https://{host}{uri} 308"
		}
		fmt.Fprintf(b, "\thandle {\n\t\t%s\n\t}\n", rest)
	}
	b.WriteString("}\n")
}

// address is bare where it can be, which Caddy reads as HTTPS with a redirect from HTTP.
func (s site) address() string {
	switch {
	case s.scheme == "https" && s.port == 443:
		return s.host
	case s.scheme == "http" && s.port == 80:
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
