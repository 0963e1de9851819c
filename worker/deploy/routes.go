package deploy

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"pgo/internal/nearest"
	"pgo/internal/printable"
	"pgo/worker/compose"
	"pgo/worker/policy"
)

// Route is one of a service's urls.
type Route struct {
	URL     string
	Targets []string // host:port
}

// judge finds what of the configuration leads nowhere, by itself or with what is deployed.
// Nothing is wrong enough to refuse it: the other end may follow with the next commit.
func (s *Service) judge() {
	warnings := s.idleAllow()
	if len(s.cfg.Routes) > 0 || s.cfg.Proxy != nil {
		if model, err := s.loadDeployed(); err == nil {
			warnings = slices.Concat(warnings, s.lostRoutes(model), s.unseenSnippet(model), s.deafProxy(model), s.closedPorts(model))
		}
	}
	s.mu.Lock()
	before := s.status.Warnings
	s.status.Warnings = warnings
	s.mu.Unlock()
	if slices.Equal(before, warnings) {
		return
	}
	for _, warning := range warnings {
		if slices.Contains(before, warning) {
			continue
		}
		s.log.Warn("something in the service's configuration leads nowhere", "problem", warning)
	}
	s.changed()
}

// idleAllow are the entries of `allow` that lift no refusal there can be.
func (s *Service) idleAllow() []string {
	var warnings []string
	for _, complaint := range policy.Complaints(s.cfg.Limits.Allow) {
		warnings = append(warnings, "allow: "+printable.Line(s.project.Redact(complaint)))
	}
	return warnings
}

// lostRoutes are the targets of urls that a proxy will not find.
func (s *Service) lostRoutes(model *compose.Model) []string {
	hosts := model.Hosts()
	var warnings []string
	for _, route := range s.cfg.Routes {
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
			case s.cfg.Proxy == nil && !model.Shares(service, s.cfg.Name):
				warnings = append(warnings, fmt.Sprintf("urls: %s leads to %s, and %s is on no network that a proxy can be on: have it join the proxy's",
					route.URL, target, brief(service)))
			}
		}
	}
	return warnings
}

// unseenSnippet warns of a snippet that the proxy does not get to see.
func (s *Service) unseenSnippet(model *compose.Model) []string {
	if s.cfg.Proxy == nil {
		return nil
	}
	name := s.cfg.Proxy.Import
	for _, commit := range s.snapshot().Checkout {
		if occupant, _, err := s.repo.Occupant(commit, name); err == nil && occupant != "" {
			return nil // it cannot be there, whatever is mounted
		}
	}
	mounted := model.Uses(s.checkout(), compose.Mounted)
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

// deafProxy warns of a `reload` that names nobody, before there is something to tell.
func (s *Service) deafProxy(model *compose.Model) []string {
	if s.cfg.Proxy == nil || s.cfg.Proxy.Service == "" {
		return nil
	}
	if err := known(model, []string{s.cfg.Proxy.Service}); err != nil {
		return []string{"reload: " + err.Error()}
	}
	return nil
}

// closedPorts are the URLs of any service at whose ports the proxy cannot be reached. Of
// 80 and 443 nothing is known: a global option of Caddy may have it listen elsewhere.
func (s *Service) closedPorts(model *compose.Model) []string {
	open, known := model.ContainerPorts()
	if s.cfg.Proxy == nil || !known {
		return nil
	}
	s.mu.Lock()
	ports := s.urlPorts
	s.mu.Unlock()
	var warnings []string
	for _, url := range slices.Sorted(maps.Keys(ports)) {
		if port := int(ports[url]); !slices.Contains(open, port) {
			warnings = append(warnings, fmt.Sprintf("urls: %s: no container of this service publishes its port %d", url, port))
		}
	}
	return warnings
}
