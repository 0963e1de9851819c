package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgo/internal/policy"
	"pgo/internal/ports"
)

// claims maps a thing to the first service that claimed it.
type claims map[string]placed

// take returns the service that already has the thing, or else gives it to s.
func (c claims) take(thing string, s placed) (first placed, taken bool) {
	first, taken = c[thing]
	if !taken {
		c[thing] = s
	}
	return first, taken
}

// who names a service in another one's problem.
func (s placed) who() string {
	return fmt.Sprintf("service %s (%s:%d)", quote(s.Name), s.at.file.path, s.at.line)
}

// checkConflicts finds mistakes that involve more than one key. Services of other machines
// can only conflict by name.
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

// checkTogether finds the service that exceeds a limit for the whole host.
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
				s.at.key(c.key).complain(wrong("", "more than %d %s in total for the services of this host", maxTogether, c.what))
				break
			}
		}
	}
}

// checkTold finds the service that exceeds the limit on what pgod keeps in memory for all of
// them.
func checkTold(services []placed) {
	all := 0
	for _, s := range services {
		if all += targets(*s.Service) + len(s.Ports); all*len(services) > maxTold {
			s.at.complain(wrong("give the services fewer of them, or move some services to another host", "more than %d targets and ranges of ports for %d services of this host", maxTold/len(services), len(services)))
			return
		}
	}
}

// targets counts the targets in a service's urls.
func targets(s Service) (n int) {
	for _, route := range s.URLs {
		n += len(route.Targets)
	}
	return n
}

// checkKeys finds keys of one service that contradict each other.
func checkKeys(s placed) {
	checkGitKey(s.at, s.Repository)
	if reload := s.at.key("reload"); reload.raw != nil && s.at.key("import").raw == nil {
		reload.complain(wrong("leave it out, or set import", "not used without import"))
	}
}

// checkGitKey finds a key for a repository that is not read over SSH, and a repository that is
// read over SSH without a key.
func checkGitKey(at value, repository SecretURL) {
	scheme, _, ok := strings.Cut(repository.String(), "://")
	key := at.key("git_key")
	switch {
	case !ok:
	case scheme != "ssh" && key.raw != nil:
		key.complain(wrong("leave it out", "not used: the repository is read over %s", scheme))
	case scheme == "ssh" && key.raw == nil:
		at.key("repository").complain(wrong("set git_key to the path of a deploy key", "the repository is read over ssh, which needs a key"))
	case scheme == "ssh" && repository.hasPassword():
		at.key("repository").complain(wrong("leave the password out", "ssh uses the key in git_key, not a password"))
	}
}

// checkImports warns about a second proxy. Both work, but one is most likely a copy.
func checkImports(services []placed) {
	imports := claims{}
	for _, s := range services {
		if s.Import == "" {
			continue
		}
		if first, taken := imports.take("", s); taken {
			s.at.key("import").warn(wrong("leave it out of one, unless you want both", "%s has import too: each of the two proxies gets the urls of all services", first.who()))
		}
	}
}

// checkAllow warns about entries that are needless, and about those that hand over this host's
// engine. If the service has an engine of its own, they hand over that one, and a rootless
// engine does not run as root.
func checkAllow(services []placed) {
	for _, s := range services {
		for i, entry := range s.Allow {
			at := s.at.key("allow").element(i)
			if why, needless := policy.Complaint(entry); needless {
				at.warn(wrong("leave it out", "%s", why))
			}
			if s.DockerHost == "" && policy.HandsOverEngine(entry) {
				at.warn(wrong("", "%s gives anyone who can push to this repository root on this host", quote(entry)))
			}
		}
	}
}

// checkGates warns about services whose timeout leaves no time for the gate.
func checkGates(services []placed) {
	for _, s := range services {
		if s.Gate <= s.Timeout || s.Timeout == 0 {
			continue
		}
		at := s.at.key("gate")
		if at.raw == nil {
			at = s.at.key("timeout")
		}
		at.warn(wrong("make timeout longer than gate, by the time that pulling and building take", "the gate of %s is longer than the timeout of %s, which ends the whole deploy", s.Gate, s.Timeout))
	}
}

// checkUsers warns about services that can read each other's files.
func checkUsers(services []placed) {
	users := claims{}
	for _, s := range services {
		if first, taken := users.take(s.User, s); taken && s.User != "root" && s.User != "" {
			s.at.key("user").warn(wrong("give each its own", "%s has this user too: each can read the other's files and secrets", first.who()))
		}
	}
}

// checkURLs finds URLs and target hosts that two services claim, and ports that would have to
// speak both HTTP and HTTPS. Target hosts share the proxy's networks.
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

// checkPorts finds host ports that two services, or a service and pgod, claim. Each port has
// one owner, so that the cost does not grow with services times ranges.
func (r *reader) checkPorts(services []placed) {
	var owners [65536]int // the port's owner: an index into services, plus 1
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

// claim gives the free ports of a range to an owner, and returns those that others have.
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

// firstOf lists ranges, but no more of them than anyone would read.
func firstOf(ranges []ports.Range) string {
	const most = 4
	if len(ranges) > most {
		return ports.Join(ranges[:most]) + ", …"
	}
	return ports.Join(ranges)
}
