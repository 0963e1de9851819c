package deploy

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/nearest"
	"pgo/internal/policy"
	"pgo/internal/printable"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// Route is one of a service's urls.
type Route struct {
	URL     string
	Targets []string // host:port
}

// advice warns of what works, in the configuration or in what is deployed, and should be changed.
type advice struct {
	name   string
	allow  []string
	routes []Route
	repo   *gitrepo.Repo
	store  *store
	board  *board
	around *neighbourhood
	files  *workspace
	proxy  *proxy
	redact func(string) string
	log    hclog.Logger

	unprepared bool     // there is a warning about that
	stays      []string // what is not as the deployed model says
}

// prepared makes what a change needs, and warns if that is impossible, or no longer is.
func (a *advice) prepared() {
	if err := a.files.prepare(); (err != nil) != a.unprepared {
		a.judge()
	}
}

// judge finds what leads nowhere in the configuration, by itself or with what is deployed.
// None of it is a reason for a refusal: the other end may follow with the next commit.
func (a *advice) judge() {
	warnings := a.idleAllow()
	err := a.files.prepare()
	if a.unprepared = err != nil; a.unprepared {
		warnings = append(warnings, "the service cannot be deployed, only looked after: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	warnings = append(warnings, a.ofCompose()...)
	if len(a.routes) > 0 || a.proxy.entry != nil {
		if model, err := a.files.loadDeployed(); err == nil {
			warnings = slices.Concat(warnings, a.lostRoutes(model), a.unseenSnippet(model), a.deafProxy(model), a.closedPorts(model))
		}
	}
	warnings = append(warnings, a.stays...)
	for _, warning := range a.board.setWarnings(warnings) {
		if slices.Contains(a.stays, warning) {
			a.log.Warn("not everything is as the compose file says", "problem", warning)
			continue
		}
		a.log.Warn("something about the service should be changed", "problem", warning)
	}
}

// ofCompose returns a warning for what compose warned of when it resolved what is deployed.
func (a *advice) ofCompose() []string {
	deployed := a.store.snapshot().Deployed
	if deployed == nil || len(deployed.Warnings) == 0 {
		return nil
	}
	text := "compose file: " + printable.Line(deployed.Warnings[0])
	if more := len(deployed.Warnings) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more warnings: check shows them)", more)
	}
	return []string{text}
}

// idleAllow returns a warning for each entry of `allow` that cannot lift any refusal.
func (a *advice) idleAllow() []string {
	var warnings []string
	for _, complaint := range policy.Complaints(a.allow) {
		warnings = append(warnings, "allow: "+printable.Line(a.redact(complaint)))
	}
	return warnings
}

// lostRoutes returns a warning for each target in urls that a proxy will not find.
func (a *advice) lostRoutes(model *compose.Model) []string {
	hosts := model.Hosts()
	var warnings []string
	for _, route := range a.routes {
		for _, target := range route.Targets {
			host, _, _ := strings.Cut(target, ":")
			service, found := hosts[strings.ToLower(host)]
			switch {
			case !found:
				hint := ""
				if word, near := nearest.Word(strings.ToLower(host), slices.Collect(maps.Keys(hosts))); near {
					hint = " (did you mean " + brief(word) + "?)"
				}
				warnings = append(warnings, fmt.Sprintf("urls: %s leads to %s, and no compose service is called %s%s; %s",
					route.URL, target, host, hint, brief(thereAre(model.Services()))))
			case a.proxy.entry == nil && !model.Shares(service, a.name):
				warnings = append(warnings, fmt.Sprintf("urls: %s leads to %s, and %s is not on any network that a proxy can be on: have it join the proxy's",
					route.URL, target, brief(service)))
			}
		}
	}
	return warnings
}

// unseenSnippet warns of a snippet that the proxy cannot see.
func (a *advice) unseenSnippet(model *compose.Model) []string {
	if a.proxy.entry == nil {
		return nil
	}
	name := a.proxy.entry.Import
	for _, commit := range a.store.snapshot().Checkout {
		if occupant, _, err := a.repo.Occupant(commit, name); err == nil && occupant != "" {
			return nil // it cannot be there, whatever is mounted
		}
	}
	mounted := model.Uses(a.files.checkout(), compose.Mounted)
	if slices.Contains(mounted, name) {
		return []string{fmt.Sprintf("import: %s is mounted as a file, and containers do not see it change: mount its directory", name)}
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if slices.Contains(mounted, dir) {
			return nil
		}
		if dir == "." {
			return []string{fmt.Sprintf("import: no container mounts the directory of %s", name)}
		}
	}
}

// deafProxy warns of a `reload` that names no compose service, before there is anything to
// tell the proxy.
func (a *advice) deafProxy(model *compose.Model) []string {
	if a.proxy.entry == nil || a.proxy.entry.Service == "" {
		return nil
	}
	if err := checkNames(model, []string{a.proxy.entry.Service}); err != nil {
		return []string{"reload: " + err.Error()}
	}
	return nil
}

// closedPorts returns a warning for each URL of any service at whose port the proxy cannot
// be reached. Nothing is known about 80 and 443: a global option of Caddy may make it
// listen elsewhere.
func (a *advice) closedPorts(model *compose.Model) []string {
	open, known := model.ContainerPorts()
	if a.proxy.entry == nil || !known {
		return nil
	}
	now, _ := a.around.now()
	ports := now.Ports
	var warnings []string
	for _, url := range slices.Sorted(maps.Keys(ports)) {
		if port := int(ports[url]); !slices.Contains(open, port) {
			warnings = append(warnings, fmt.Sprintf("urls: %s: no container of this service publishes its port %d", url, port))
		}
	}
	return warnings
}
