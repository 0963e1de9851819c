package supervisor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	protobuf "google.golang.org/protobuf/proto"

	"pgo/internal/caddyfile"
	"pgo/internal/config"
	"pgo/internal/printable"
	"pgo/proto"
)

// switchboard connects services that start first with the proxies: it tells the proxies' workers
// which container is to answer, and the services' workers which one the proxies have.
type switchboard struct {
	mu sync.Mutex // held while everybody is connected: an older view must not replace a newer one
}

// lines is what the switchboard tells one worker.
type lines struct {
	switches     map[string]*proto.Switches // for a proxy
	switched     *proto.Switches            // for a service that starts first
	cannotSwitch string                     // likewise
}

func (l lines) addTo(n *proto.Neighbours) {
	n.Switches, n.Switched, n.CannotSwitch = l.switches, l.switched, l.cannotSwitch
}

// same reports whether both tell the same.
func (l lines) same(as lines) bool {
	var a, b proto.Neighbours
	l.addTo(&a)
	as.addTo(&b)
	return protobuf.Equal(&a, &b)
}

// isConnected reports whether what a service's worker reports can matter to others.
func isConnected(s config.Service) bool { return s.Import != "" || s.Deploy == config.StartFirst }

// connect connects all instances as their workers report now.
func (b *switchboard) connect(instances func() []*instance) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := instances()
	var services []party
	for _, i := range all {
		services = append(services, party{i.service, i.view.get().report})
	}
	for n, i := range all {
		i.neighbours.connect(linesOf(services[n], services))
	}
}

// party is a service, and what its worker has reported last.
type party struct {
	service config.Service
	report  *proto.State
}

// linesOf returns what to tell a service's worker.
func linesOf(p party, all []party) lines {
	l := lines{}
	if p.service.Import != "" {
		l.switches = map[string]*proto.Switches{}
		for _, other := range all {
			if asked, known := asks(other); known {
				l.switches[other.service.Name] = proto.SwitchList(asked)
			}
		}
	}
	if p.service.Deploy == config.StartFirst {
		switched, cannot := answered(p, all)
		l.switched, l.cannotSwitch = proto.SwitchList(switched), cannot
	}
	return l
}

// asks returns the switches that a service asks for, and whether its worker has said anything. A
// worker can ask only for what leads to its own service.
func asks(p party) (asked map[string]string, known bool) {
	if p.service.Deploy != config.StartFirst {
		return nil, true
	}
	said := p.report.GetSwitches()
	if said == nil {
		return nil, false
	}
	own := map[string]bool{}
	for _, route := range p.service.URLs {
		if caddyfile.Switched(p.service, route) {
			own[strings.ToLower(route.Targets[0].Host)] = true
		}
	}
	asked = proto.SwitchMap(said)
	maps.DeleteFunc(asked, func(host, container string) bool { return !own[host] || !isContainer(container) })
	return asked, true
}

// answered returns those of a service's switches that all proxies have, or why there are none.
func answered(p party, all []party) (switched map[string]string, cannot string) {
	if switched, _ = asks(p); switched == nil {
		switched = map[string]string{}
	}
	proxies := 0
	for _, other := range all {
		if other.service.Import == "" {
			continue
		}
		proxies++
		state := other.report.GetProxy()
		if state == nil && cannot == "" {
			cannot = fmt.Sprintf("the proxy %s has not reported yet", other.service.Name)
		}
		if why := state.GetCannotSwitch(); why != "" && cannot == "" {
			cannot = fmt.Sprintf("the proxy %s: %s", other.service.Name, printable.Cut(printable.Line(why), maxWhy))
		}
		has := proto.SwitchMap(state.GetSwitched()[p.service.Name])
		maps.DeleteFunc(switched, func(host, container string) bool { return has[host] != container })
	}
	if proxies == 0 {
		cannot = "no service of this host has `import`"
	}
	return switched, cannot
}

// maxWhy bounds a worker's reason that is passed on to another.
const maxWhy = 300

// isContainer reports whether a text can be a container's ID: 64 hex digits.
func isContainer(id string) bool {
	const length = 64
	return len(id) == length && strings.Trim(id, "0123456789abcdef") == ""
}

// maxSwitches bounds how many switches a worker reports of one service, maxSwitched of how many
// services.
const (
	maxSwitches = 200
	maxSwitched = 2000
)

// boundSwitches cuts what a worker reports about switches.
func boundSwitches(s *proto.State) {
	cut := func(of *proto.Switches) {
		if of != nil && len(of.GetAll()) > maxSwitches {
			of.All = slices.Clone(of.GetAll()[:maxSwitches])
		}
	}
	cut(s.GetSwitches())
	if switched := s.GetProxy().GetSwitched(); len(switched) > maxSwitched {
		s.Proxy.Switched = nil
	}
	for _, switches := range s.GetProxy().GetSwitched() {
		cut(switches)
	}
	if len(s.Ways) > maxShownLines {
		s.Ways = slices.Clone(s.Ways[:maxShownLines])
	}
}
