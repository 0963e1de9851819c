// Package caddyfile writes the snippet that a Caddyfile imports: the URLs of all services, and
// where their requests go. It trusts the configuration, whose grammar excludes everything that is
// special in a Caddyfile. It must know neither where the snippet is stored nor how the proxy is
// reloaded.
package caddyfile

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"pgo/internal/config"
)

const head = `# Written by pgo: the urls of all services. It is written again when they change, so
# nothing else can be kept here.
`

// site is the address of a block: Caddy refuses two blocks with the same address.
type site struct {
	scheme, host string
	port         int
}

// entry is a URL, or a redirect, which has no targets.
type entry struct {
	site
	path     string
	service  string
	targets  []config.Target
	switches string // the directory of the target's switch; empty: it has none
	switched string // what the name of its switch begins with
}

// Render returns the snippet for the urls of these services. The order of the services makes no
// difference.
//
// switches is the path of files in the proxy, without the end of their names. A target HOST of a
// service that starts first has at most one, whose name ends with SERVICE.HOST=OTHER, and then OTHER
// answers instead of HOST: Caddy looks with each request, and needs no reload. Without switches, HOST
// always answers.
func Render(services []config.Service, switches string) string {
	var entries []entry
	for _, s := range services {
		for _, r := range s.URLs {
			e := entry{site: site{r.Scheme, r.Host, r.Port}, path: r.Path, service: s.Name, targets: r.Targets}
			if switches != "" && Switched(s, r) {
				e.switches = path.Dir(switches)
				e.switched = fmt.Sprintf("%s%s.%s=", path.Base(switches), s.Name, strings.ToLower(r.Targets[0].Host))
			}
			entries = append(entries, e)
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
		rest := "respond 404" // Caddy's default is 200
		host := entries[0].host
		if port := cmp.Or(secure[host], secure[wildcard(host)]); port != 0 && entries[0].plain() {
			rest = redirect(port)
		}
		writeSite(&b, entries[:n], rest)
		entries = entries[n:]
	}
	return b.String()
}

// Switched reports whether requests for a route of a service can be switched. Caddy finds one file,
// so it is a route with one target.
func Switched(s config.Service, r config.Route) bool {
	return s.Deploy == config.StartFirst && len(r.Targets) == 1
}

// securePorts returns, by host, the port to which HTTP requests are redirected: 443 if the host has
// it, or else the lowest one. The entries are sorted.
func securePorts(entries []entry) map[string]int {
	ports := map[string]int{}
	for _, e := range entries {
		if e.scheme == "https" && (ports[e.host] == 0 || e.port == 443) {
			ports[e.host] = e.port
		}
	}
	return ports
}

// ownRedirects returns an entry without targets for each host whose redirect to HTTPS cannot be
// left to Caddy. Caddy puts its own redirects after all sites with HTTP, where a wildcard site gets
// the requests first; and it puts them in no particular order, which matters if a wildcard's leads
// to another port. Of several ports it takes any, unless one is 443.
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

// wildcard returns the wildcard host that also matches this host.
func wildcard(host string) string {
	_, parent, _ := strings.Cut(host, ".")
	return "*." + parent
}

// compare sorts by site, and within a site puts the longest path first: Caddy takes the first
// match.
func compare(a, b entry) int {
	return cmp.Or(
		cmp.Compare(a.host, b.host), cmp.Compare(a.port, b.port), cmp.Compare(a.scheme, b.scheme),
		-cmp.Compare(len(a.path), len(b.path)), cmp.Compare(a.path, b.path), cmp.Compare(a.service, b.service),
	)
}

// writeSite writes the block of one site. The rest handles requests that no entry matches.
func writeSite(b *strings.Builder, entries []entry, rest string) {
	if only := entries[0]; only.path == "" {
		does := []string{rest}
		if only.targets != nil {
			does = only.proxy()
		}
		if only.switched != "" {
			does = slices.Concat(named, does)
		}
		fmt.Fprintf(b, "# %s\n%s {\n\t%s\n}\n", only.service, only.address(), strings.Join(does, "\n\t"))
		return
	}
	fmt.Fprintf(b, "%s {\n", entries[0].address())
	if slices.ContainsFunc(entries, func(e entry) bool { return e.switched != "" }) {
		fmt.Fprintf(b, "\t%s\n", strings.Join(named, "\n\t"))
	}
	for i, e := range entries {
		matcher := ""
		fmt.Fprintf(b, "\t# %s\n", e.service)
		if e.path != "" {
			// Without the second slash it would also match other paths.
			matcher = fmt.Sprintf("@%d ", i+1)
			fmt.Fprintf(b, "\t%spath %s %s/*\n", matcher, e.path, e.path)
		}
		fmt.Fprintf(b, "\thandle %s{\n\t\t%s\n\t}\n", matcher, strings.Join(e.proxy(), "\n\t\t"))
	}
	if entries[len(entries)-1].path != "" {
		fmt.Fprintf(b, "\thandle {\n\t\t%s\n\t}\n", rest)
	}
	b.WriteString("}\n")
}

// redirect returns the same directive as Caddy's own redirects.
func redirect(port int) string {
	host := "{host}"
	if port != 443 {
		host = fmt.Sprintf("{host}:%d", port)
	}
	return fmt.Sprintf("redir https://%s{uri} 308", host)
}

// plain reports whether Caddy, by default, may have a redirect to HTTPS at this address.
func (s site) plain() bool { return s.scheme == "http" && s.port == 80 }

// address returns the bare host if possible, which Caddy takes for HTTPS with a redirect from HTTP.
func (s site) address() string {
	switch {
	case s.scheme == "https" && s.port == 443:
		return s.host
	case s.plain():
		return "http://" + s.host
	}
	return fmt.Sprintf("%s://%s:%d", s.scheme, s.host, s.port)
}

// patience is for how long a request waits for a target that can be reached. A deploy takes down
// what ran before the next starts: clients should notice a pause, and no error.
const patience = "30s"

// avoidance is for how long one of several targets gets no requests after it could not be reached.
// A deploy may take all of them down at once: requests wait for that long at least, also when the
// targets are back sooner.
const avoidance = "2s"

// brevity is for how long an unused connection to a target that can be switched is kept: a container
// that is to end has no others then, and every one that it still has is of a request.
const brevity = "1s"

// stale is for how long a container that a switch names, and that cannot be reached, is avoided.
const stale = "1s"

// named are the lines of the directive that takes the host out of the name of a switch.
var named = block("map {http.matchers.file.relative} {answering}", []string{`~=(.+)$ "${1}"`})

// proxy returns the lines of the directives for the targets.
func (e entry) proxy() []string {
	var hosts []string
	for _, t := range e.targets {
		hosts = append(hosts, fmt.Sprintf("%s:%d", t.Host, t.Port))
	}
	if e.switched == "" {
		options := []string{"lb_try_duration " + patience}
		if len(e.targets) > 1 { // an only target that is avoided would be down for longer
			options = append(options, "fail_duration "+avoidance)
		}
		return block("reverse_proxy "+strings.Join(hosts, " "), options)
	}
	keep := block("transport http", []string{"keepalive " + brevity})
	during := block(fmt.Sprintf("reverse_proxy {answering}:%d %s", e.targets[0].Port, hosts[0]),
		append([]string{"lb_policy first", "lb_try_duration " + patience, "fail_duration " + stale}, keep...))
	always := block("reverse_proxy "+hosts[0], append([]string{"lb_try_duration " + patience}, keep...))
	return slices.Concat(
		block("@switched file", []string{"root " + e.switches, "try_files " + e.switched + "*"}),
		block("handle @switched", during),
		block("handle", always),
	)
}

// block returns the lines of a directive with a block.
func block(directive string, lines []string) []string {
	all := []string{directive + " {"}
	for _, line := range lines {
		all = append(all, "\t"+line)
	}
	return append(all, "}")
}
