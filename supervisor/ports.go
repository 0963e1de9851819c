package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"pgo/internal/hoststat"
	"pgo/internal/ports"
	"pgo/internal/printable"
	"pgo/internal/sockets"
	"pgo/internal/sshd"
	"pgo/internal/target"
	"pgo/proto"
)

// ownPort is pgod as the owner of a port, in the place of a service: no service can have this
// name.
const ownPort = "(pgod)"

// maxUsedPorts bounds how many host ports of one service count, and how many of its
// containers in the host's network.
const maxUsedPorts = 1000

// portJSON is one row of `//ports`, and one element of what `//ports --json` prints: an interface
// of pgo. Its ports are granted to at most one owner and used by at most one.
type portJSON struct {
	rangeJSON          // a single port, unless nobody uses these
	Granted   string   `json:"granted_to,omitempty"` // a service, or (pgod)
	Protocol  string   `json:"protocol,omitempty"`   // tcp, udp, sctp; empty: not used
	Addresses []string `json:"addresses,omitempty"`  // of the host, where it is used
	Service   string   `json:"used_by,omitempty"`    // a service, or (pgod)
	Container string   `json:"container,omitempty"`  // of that service
	Program   string   `json:"program,omitempty"`    // that uses it, unless the engine does so for a service
	PID       int      `json:"pid,omitempty"`        // of the program
	Conflict  string   `json:"conflict,omitempty"`   // a conflict, in words
	Deaf      []string `json:"deaf,omitempty"`       // the addresses at which nothing listens for the container any more

	passing bool // the kernel may have given out the port for a moment
}

// rangeJSON is a ports.Range as it is printed.
type rangeJSON struct {
	First int `json:"first"`
	Last  int `json:"last"`
}

func (h *host) showPorts(_ context.Context, session sshd.Command, args target.Args) sshd.Exit {
	all := portRows(h.supervisor.overview(), h.supervisor.listensAt(), sockets.Listening(), sockets.Programs)
	free := freeOf(all)
	if args.Has("--json") {
		return say(session, hoststat.Encode(struct {
			Ports []portJSON  `json:"ports"`
			Free  []rangeJSON `json:"free"`
		}{all, free}))
	}
	return say(session, portsTable(all).Text(session.Color)+freeText(free))
}

// freeOf returns the ports that are in none of the rows: granted to nobody and not known to be in
// use.
func freeOf(all []portJSON) []rangeJSON {
	const highest = 65535
	var taken [highest + 2]bool
	for _, row := range all {
		for port := row.First; port <= row.Last; port++ {
			taken[port] = true
		}
	}
	taken[0], taken[highest+1] = true, true
	free := []rangeJSON{}
	for port := 1; port <= highest; port++ {
		if !taken[port] && taken[port-1] {
			free = append(free, rangeJSON{First: port})
		}
		if !taken[port] && taken[port+1] {
			free[len(free)-1].Last = port
		}
	}
	return free
}

// maxFree bounds how many free ranges are listed below a table.
const maxFree = 20

// freeText lists the ports that can be granted, below the table.
func freeText(free []rangeJSON) string {
	var texts []string
	for _, r := range free[:min(len(free), maxFree)] {
		texts = append(texts, ports.Range(r).String())
	}
	if more := len(free) - maxFree; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more ranges: see --json", more))
	}
	return "\nfree (granted to nobody and not in use): " + cmp.Or(strings.Join(texts, ", "), "-") + "\n"
}

// portRows lists the owners of host ports: what the configuration grants, and what is in use, by
// anyone.
func portRows(services []seen, sshPort int, listeners []sockets.Socket, programs func([]sockets.Socket) map[sockets.Socket]sockets.Program) []portJSON {
	grants := grantsOf(services, sshPort)
	uses := containerUses(services)
	var others []sockets.Socket
	for _, l := range listeners {
		if !slices.ContainsFunc(uses, func(u portJSON) bool { return u.serves(l) }) {
			others = append(others, l)
		}
	}
	owners := programs(others)
	onHost := hostContainers(services)
	for _, l := range others {
		use := programUse(l, owners[l], sshPort)
		if c, known := onHost[owners[l].Container]; known {
			use.Service, use.Container = c.service, c.name
			use.passing = l.Passing()
		}
		uses = append(uses, use)
	}
	uses = merge(uses)
	for n := range uses {
		uses[n].Granted, _ = grants.of(uses[n].First)
		uses[n].Conflict = conflict(uses[n], services)
		uses[n].Deaf = deafAt(uses[n], services, listeners)
	}
	all := append(uses, grants.unused(uses)...)
	if all == nil {
		return []portJSON{}
	}
	slices.SortStableFunc(all, func(a, b portJSON) int { return cmp.Compare(a.First, b.First) })
	return all
}

// grant is a range of host ports and its owner.
type grant struct {
	ports.Range
	owner string
}

type grants []grant

func grantsOf(services []seen, sshPort int) grants {
	var all grants
	if sshPort != 0 {
		all = append(all, grant{ports.One(sshPort), ownPort})
	}
	for _, s := range services {
		for _, r := range s.service.Ports {
			all = append(all, grant{r, s.service.Name})
		}
	}
	return all
}

func (g grants) of(port int) (owner string, granted bool) {
	for _, one := range g {
		if one.First <= port && port <= one.Last {
			return one.owner, true
		}
	}
	return "", false
}

// unused returns the parts of the grants that nobody uses.
func (g grants) unused(uses []portJSON) []portJSON {
	used := map[int]bool{}
	for _, u := range uses {
		used[u.First] = true
	}
	var all []portJSON
	for _, one := range g {
		open := false // the last row can be extended
		for port := one.First; port <= one.Last; port++ {
			switch {
			case used[port]:
				open = false
			case open:
				all[len(all)-1].Last = port
			default:
				all, open = append(all, portJSON{rangeJSON: rangeJSON(ports.One(port)), Granted: one.owner}), true
			}
		}
	}
	return all
}

// containerUses returns the host ports that the services' containers have, as reported by the
// workers.
func containerUses(services []seen) []portJSON {
	var uses []portJSON
	for _, s := range services {
		reported := s.report.GetPorts()
		for _, p := range reported[:min(len(reported), maxUsedPorts)] {
			if p.GetPort() == 0 || p.GetPort() > 65535 {
				continue
			}
			uses = append(uses, portJSON{
				rangeJSON: rangeJSON(ports.One(int(p.GetPort()))),
				Protocol:  proto.Word(p.GetProtocol()), Addresses: []string{cmp.Or(brief(p.GetIp()), "::")},
				Service: s.service.Name, Container: brief(p.GetContainer()),
			})
		}
	}
	return uses
}

// hostContainer is a service's container that listens at host ports without the engine's
// help.
type hostContainer struct{ service, name string }

// hostContainers returns those containers by ID, as reported by the workers. One that is claimed
// twice belongs to nobody.
func hostContainers(services []seen) map[string]hostContainer {
	all, claims := map[string]hostContainer{}, map[string]int{}
	for _, s := range services {
		reported := s.report.GetOnHost()
		for _, c := range reported[:min(len(reported), maxUsedPorts)] {
			if c.GetId() != "" {
				all[c.GetId()] = hostContainer{s.service.Name, brief(c.GetName())}
				claims[c.GetId()]++
			}
		}
	}
	maps.DeleteFunc(all, func(id string, _ hostContainer) bool { return claims[id] > 1 })
	return all
}

// brief shortens a name that a worker has reported: there may be very many.
func brief(name string) string { return printable.Line(printable.Cut(name, 256)) }

// serves reports whether the listener is the engine's for this use.
func (p portJSON) serves(l sockets.Socket) bool {
	return p.First == l.Port && p.Protocol == l.Protocol && sockets.Overlap(p.Addresses[0], l.IP)
}

// programUse describes the use of a port by a program of this host.
func programUse(l sockets.Socket, by sockets.Program, sshPort int) portJSON {
	use := portJSON{rangeJSON: rangeJSON(ports.One(l.Port)), Protocol: l.Protocol, Addresses: []string{l.IP}}
	if l.Port == sshPort && l.Protocol == "tcp" && by.PID == os.Getpid() {
		use.Service = ownPort
		return use
	}
	use.Program, use.PID = printable.Line(by.Name), by.PID
	return use
}

// merge combines the uses that differ only in their addresses: the engine has one for each
// family.
func merge(uses []portJSON) []portJSON {
	type key struct {
		port, pid                    int
		protocol, service, container string
	}
	var merged []portJSON
	known := map[key]int{}
	for _, u := range uses {
		k := key{u.First, u.PID, u.Protocol, u.Service, u.Container}
		n, found := known[k]
		if !found {
			known[k] = len(merged)
			merged = append(merged, u)
		} else if !slices.Contains(merged[n].Addresses, u.Addresses[0]) {
			merged[n].Addresses = append(merged[n].Addresses, u.Addresses[0])
		}
	}
	return merged
}

// conflict describes what is wrong with a use, empty if nothing is.
func conflict(use portJSON, services []seen) string {
	switch {
	case use.Granted == "":
		// A service without ports may use any that is granted to nobody.
		limited := slices.ContainsFunc(services, func(s seen) bool { return s.service.Name == use.Service && len(s.service.Ports) > 0 })
		if limited && !use.passing {
			return "not granted to " + use.Service
		}
		return ""
	case use.Granted == use.Service:
		return ""
	case use.Service != "":
		return fmt.Sprintf("granted to %s, used by %s", use.Granted, use.Service)
	}
	return fmt.Sprintf("granted to %s, used by another program", use.Granted)
}

// portsTable shows the rows, with what is wrong in the last column.
func portsTable(all []portJSON) hoststat.Table {
	t := hoststat.Table{hoststat.Texts("PORT", "GRANTED", "USED BY", "PROTOCOL", "ADDRESS", "CONTAINER OR PROGRAM", "PROBLEM")}
	for _, p := range all {
		row := hoststat.Texts(ports.Range(p.rangeJSON).String(), p.Granted, p.Service, p.Protocol, strings.Join(p.Addresses, ","), p.by())
		t = append(t, append(row, hoststat.Cell{Text: p.problem(), Level: hoststat.Bad}))
	}
	return t
}

// problem says what is wrong with the row, empty if nothing is.
func (p portJSON) problem() string {
	if len(p.Deaf) == 0 {
		return p.Conflict
	}
	deaf := "nothing listens at " + strings.Join(p.Deaf, ",") + " any more: restart brings it back"
	if p.Conflict == "" {
		return deaf
	}
	return p.Conflict + "; " + deaf
}

// by describes what has the port: a container or a program.
func (p portJSON) by() string {
	switch {
	case p.Container != "" && p.PID != 0:
		return fmt.Sprintf("%s: %s (pid %d)", p.Container, p.Program, p.PID)
	case p.Container != "":
		return p.Container
	case p.PID != 0:
		return fmt.Sprintf("%s (pid %d)", p.Program, p.PID)
	case p.Protocol != "" && p.Service == "":
		return "a program"
	}
	return ""
}
