package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgo/internal/policy"
	"pgo/internal/ports"
)

// claims remembers who was the first to have something.
type claims map[string]placed

// take returns the service that has the thing already, and otherwise gives it to s.
func (c claims) take(thing string, s placed) (first placed, taken bool) {
	first, taken = c[thing]
	if !taken {
		c[thing] = s
	}
	return first, taken
}

// who names a service in a problem of another one.
func (s placed) who() string {
	return fmt.Sprintf("service %s (%s:%d)", quote(s.Name), s.at.file.path, s.at.line)
}

// checkConflicts finds what no single key is wrong about. Services of other machines
// conflict by their names alone.
func (r *reader) checkConflicts() {
	names := claims{}
	var here []placed
	for _, s := range r.services {
		if first, taken := names.take(s.Name, s); taken && s.Name != "" {
			s.at.key("name").complain(wrong("", "%s has this name already", first.who()))
		}
		if s.here {
			here = append(here, s)
		}
		checkKeys(s)
	}
	checkTogether(here)
	checkTold(here)
	checkAllow(here)
	checkGates(here)
	checkUsers(here)
	r.checkUpstream(here)
	checkImports(here)
	checkURLs(here)
	r.checkPorts(here)
}

// checkTogether finds the service with which there is too much for one host.
func checkTogether(services []placed) {
	for _, c := range []struct {
		what, key string
		of        func(Service) int
	}{
		{"URLs", "urls", func(s Service) int { return len(s.URLs) }},
		{"targets", "urls", targets},
		{"ranges of ports", "ports", func(s Service) int { return len(s.Ports) }},
	} {
		all := 0
		for _, s := range services {
			if all += c.of(*s.Service); all > maxTogether {
				s.at.key(c.key).complain(wrong("", "more than %d %s of all services of this host together", maxTogether, c.what))
				break
			}
		}
	}
}

// checkTold finds the service with which there is more to keep for all of them than pgod has
// the memory for.
func checkTold(services []placed) {
	all := 0
	for _, s := range services {
		if all += targets(*s.Service) + len(s.Ports); all*len(services) > maxTold {
			s.at.complain(wrong("give the services fewer of them, or another host", "more than %d targets and ranges of ports for %d services of this host", maxTold/len(services), len(services)))
			return
		}
	}
}

// targets counts those of a service's urls.
func targets(s Service) (n int) {
	for _, route := range s.URLs {
		n += len(route.Targets)
	}
	return n
}

// checkKeys finds keys of one service that do not go together.
func checkKeys(s placed) {
	checkGitKey(s.at, s.Repository)
	if reload := s.at.key("reload"); reload.raw != nil && s.at.key("import").raw == nil {
		reload.complain(wrong("leave it out, or set import", "no use for it without import"))
	}
}

// checkGitKey finds a key for a repository that is not read over SSH, and one that is and
// has none.
func checkGitKey(at value, repository SecretURL) {
	scheme, _, ok := strings.Cut(repository.String(), "://")
	key := at.key("git_key")
	switch {
	case !ok:
	case scheme != "ssh" && key.raw != nil:
		key.complain(wrong("leave it out", "no use for it: the repository is read over %s", scheme))
	case scheme == "ssh" && key.raw == nil:
		at.key("repository").complain(wrong("set git_key to the path of a deploy key", "the repository is read over ssh, which needs a key"))
	case scheme == "ssh" && repository.hasPassword():
		at.key("repository").complain(wrong("take the password out", "ssh takes the key in git_key and not a password"))
	}
}

// checkImports warns of a second proxy. Both work, but most likely one is a copy.
func checkImports(services []placed) {
	imports := claims{}
	for _, s := range services {
		if s.Import == "" {
			continue
		}
		if first, taken := imports.take("", s); taken {
			s.at.key("import").warn(wrong("leave it out of one, unless that is meant", "%s has import too: each of the two proxies gets the urls of all services", first.who()))
		}
	}
}

// checkAllow warns of entries that are needless, and of those that hand over this host's
// engine. Where the service has another engine they hand over that one, and a rootless
// engine is not root.
func checkAllow(services []placed) {
	for _, s := range services {
		for i, entry := range s.Allow {
			at := s.at.key("allow").element(i)
			if why, needless := policy.Complaint(entry); needless {
				at.warn(wrong("leave it out", "%s", why))
			}
			if s.DockerHost == "" && policy.HandsOverEngine(entry) {
				at.warn(wrong("", "%s makes whoever can push to this repository root on this host", quote(entry)))
			}
		}
	}
}

// checkGates warns of services whose deploy has no time to become healthy.
func checkGates(services []placed) {
	for _, s := range services {
		if s.Gate <= s.Timeout || s.Timeout == 0 {
			continue
		}
		at := s.at.key("gate")
		if at.raw == nil {
			at = s.at.key("timeout")
		}
		at.warn(wrong("make timeout longer than gate, by what pulling and building take", "the gate of %s is longer than the timeout of %s, which ends the whole deploy", s.Gate, s.Timeout))
	}
}

// checkUsers warns of services that can read each other's files.
func checkUsers(services []placed) {
	users := claims{}
	for _, s := range services {
		if first, taken := users.take(s.User, s); taken && s.User != "root" && s.User != "" {
			s.at.key("user").warn(wrong("give each its own", "%s has this user too: each can read the other's files and secrets", first.who()))
		}
	}
}

// checkURLs finds URLs, and target hosts on the proxy's networks, that two services want, and
// ports that are to speak HTTP and HTTPS.
func checkURLs(services []placed) {
	urls, hosts, protocols := claims{}, claims{}, claims{}
	for _, s := range services {
		for _, route := range s.URLs {
			at := s.at.key("urls").key(route.URL)
			if first, taken := urls.take(route.address(), s); taken && route.Host != "" {
				at.complain(wrong("", "%s has this URL already", first.who()))
			}
			other := map[string]string{"http": "https", "https": "http"}[route.Scheme]
			protocols.take(fmt.Sprint(route.Scheme, route.Port), s)
			if first, taken := protocols[fmt.Sprint(other, route.Port)]; taken && route.Host != "" {
				at.complain(wrong("write the same for both, or another port", "port %d is for %s:// here, and %s has it for %s://", route.Port, route.Scheme, first.who(), other))
			}
			for _, target := range route.Targets {
				if first, taken := hosts.take(strings.ToLower(target.Host), s); taken && first.Service != s.Service {
					at.complain(wrong("give it another name in one compose file", "%s has the target host %s already", first.who(), quote(target.Host)))
				}
			}
		}
	}
}

// checkPorts finds host ports that two services, or a service and pgod, want. Each port has
// one owner, so that the work does not grow with the services times their ranges.
func (r *reader) checkPorts(services []placed) {
	var owners [65536]int // who has the port: its place in services, counted from 1
	for i, s := range services {
		for j, asked := range s.Ports {
			if r.full() {
				return
			}
			at := s.at.key("ports").element(j)
			if ssh := r.opts.SSHPort; ssh != 0 && asked.Overlaps(ports.One(ssh)) {
				at.complain(wrong("", "port %d is pgod's own, for SSH", ssh))
			}
			shared := claim(asked, &owners, i+1)
			for _, owner := range slices.Sorted(maps.Keys(shared)) {
				if r.full() {
					return
				}
				at.complain(wrong("", "%s has %s already", services[owner-1].who(), firstOf(shared[owner])))
			}
		}
	}
}

// claim gives the ports that nobody has to an owner, and returns those of others.
func claim(r ports.Range, owners *[65536]int, owner int) (shared map[int][]ports.Range) {
	if r.First == 0 {
		return nil
	}
	for port := r.First; port <= r.Last; port++ {
		other := owners[port]
		if other == 0 || other == owner {
			owners[port] = owner
			continue
		}
		first := port
		for port < r.Last && owners[port+1] == other {
			port++
		}
		if shared == nil {
			shared = map[int][]ports.Range{}
		}
		shared[other] = append(shared[other], ports.Range{First: first, Last: port})
	}
	return shared
}

// firstOf names ranges, and never more of them than one can read.
func firstOf(ranges []ports.Range) string {
	const most = 4
	if len(ranges) > most {
		return ports.Join(ranges[:most]) + ", …"
	}
	return ports.Join(ranges)
}
