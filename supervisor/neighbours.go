package supervisor

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	protobuf "google.golang.org/protobuf/proto"

	"pgo/internal/caddyfile"
	"pgo/internal/config"
	"pgo/internal/ports"
	"pgo/proto"
)

// adjustTimeout bounds how long a worker may take to accept its neighbours.
const adjustTimeout = 10 * time.Second

// neighboursOf returns what shares the host with the service: the other services of the
// configuration, and pgod, whose SSH port no service may have.
func neighboursOf(service config.Service, all []config.Service, sshPort int) *proto.Neighbours {
	n := &proto.Neighbours{Reserved: map[string]string{}}
	if sshPort != 0 {
		n.Granted = proto.PortRanges([]ports.Range{ports.One(sshPort)})
	}
	for _, other := range all {
		if other.Name == service.Name {
			continue
		}
		n.Services = append(n.Services, other.Name)
		n.Granted = append(n.Granted, proto.PortRanges(other.Ports)...)
		for _, route := range other.URLs {
			for _, target := range route.Targets {
				n.Reserved[strings.ToLower(target.Host)] = other.Name
			}
		}
	}
	if service.Import != "" {
		n.Snippet, n.Ports = caddyfile.Render(all, ""), unusualPorts(all)
		if switched := caddyfile.Render(all, proto.SwitchesRoot+"/"+proto.SwitchPrefix(service.Import)); switched != n.GetSnippet() {
			n.SwitchedSnippet = switched
		}
	}
	// The order of the entries in the configuration means nothing.
	slices.Sort(n.Services)
	slices.SortFunc(n.Granted, func(a, b *proto.PortRange) int { return int(a.GetFirst()) - int(b.GetFirst()) })
	return n
}

// unusualPorts returns the URLs whose port no proxy listens at by default.
func unusualPorts(all []config.Service) map[string]uint32 {
	unusual := map[string]uint32{}
	for _, service := range all {
		for _, route := range service.URLs {
			if route.Port != 80 && route.Port != 443 {
				unusual[route.URL] = uint32(route.Port)
			}
		}
	}
	return unusual
}

// neighbourhood holds the newest neighbours of an instance. Apply sets them, the switchboard
// connects them, and neither waits; the instance picks them up.
type neighbourhood struct {
	mu      sync.Mutex
	set     *proto.Neighbours // by the configuration; never changed, only replaced
	lines   lines             // by the switchboard
	newest  *proto.Neighbours // both; never changed, only replaced
	changed chan struct{}     // closed when newest is replaced
}

func newNeighbourhood(n *proto.Neighbours) *neighbourhood {
	return &neighbourhood{set: n, newest: n, changed: make(chan struct{})}
}

func (h *neighbourhood) get() (*proto.Neighbours, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.newest, h.changed
}

// configure replaces what the configuration says.
func (h *neighbourhood) configure(n *proto.Neighbours) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.set = n
	h.renew()
}

// connect replaces what the switchboard says.
func (h *neighbourhood) connect(l lines) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lines.same(l) {
		return
	}
	h.lines = l
	h.renew()
}

// renew tells the instance what is new. The lock is held.
func (h *neighbourhood) renew() {
	next := protobuf.CloneOf(h.set)
	h.lines.addTo(next)
	if protobuf.Equal(h.newest, next) {
		return
	}
	h.newest = next
	close(h.changed)
	h.changed = make(chan struct{})
}

// adjust sends the worker its neighbours whenever they differ from those it knows, also if they
// changed while it was being started. A worker that cannot be told would act on outdated facts:
// it is replaced.
func (i *instance) adjust(ctx context.Context, p *process) {
	for known := p.neighbours; ; {
		newest, changed := i.neighbours.get()
		if !protobuf.Equal(known, newest) {
			call, cancel := context.WithTimeout(ctx, adjustTimeout)
			_, err := p.rpc.Adjust(call, &proto.AdjustRequest{Neighbours: newest})
			cancel()
			if err != nil {
				if ctx.Err() == nil && !p.goneSoon() {
					i.log.Error("cannot tell the worker its neighbours", "error", loggable(err))
					i.send(silent{p})
				}
				return
			}
			known = newest
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
