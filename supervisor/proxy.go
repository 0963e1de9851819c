package supervisor

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"pgo/internal/config"
	"pgo/internal/hoststat"
	"pgo/internal/printable"
	"pgo/proto"
)

// proxyOf is what a service's worker needs to know to be the others' reverse proxy; nil:
// it is none.
func proxyOf(s config.Service) *proto.Proxy {
	if s.Import == "" {
		return nil
	}
	return &proto.Proxy{Import: s.Import, Service: s.Reload.Service, Command: s.Reload.Command}
}

// routesOf are a service's own urls.
func routesOf(s config.Service) []*proto.Route {
	var routes []*proto.Route
	for _, route := range s.URLs {
		r := &proto.Route{Url: route.URL}
		for _, target := range route.Targets {
			r.Targets = append(r.Targets, net.JoinHostPort(target.Host, strconv.Itoa(target.Port)))
		}
		routes = append(routes, r)
	}
	return routes
}

// proxy adds a row about the snippet, if the service has one.
func (r *rows) proxy(p *proto.ProxyState, now time.Time) {
	if p == nil {
		return
	}
	said := row{name: "proxy", value: p.GetImport() + " is not written yet"}
	if at := p.GetWrittenAt(); at != 0 {
		said.value = fmt.Sprintf("%s written %s ago", p.GetImport(), since(now, at))
	}
	if outcome := p.GetReload(); outcome != "" {
		said.value += ", reload: " + outcome
		if at := p.GetReloadedAt(); at != 0 {
			said.value += fmt.Sprintf(" %s ago", since(now, at))
		}
	}
	why := p.GetError()
	if why != "" {
		said.word = cell{"failed, ", hoststat.Bad}
	}
	said.value = printable.Line(said.value)
	*r = append(*r, said)
	if why != "" {
		r.add("", "%s", why)
	}
}

type proxyJSON struct {
	Import     string    `json:"import"`
	WrittenAt  time.Time `json:"written_at,omitzero"`
	Reload     string    `json:"reload,omitempty"` // pending, reloaded, failed, not running
	ReloadedAt time.Time `json:"reloaded_at,omitzero"`
	Error      string    `json:"error,omitempty"`
}

func proxyJSONOf(p *proto.ProxyState) *proxyJSON {
	if p == nil {
		return nil
	}
	return &proxyJSON{
		Import: printable.Line(p.GetImport()), WrittenAt: moment(p.GetWrittenAt()),
		Reload: printable.Line(p.GetReload()), ReloadedAt: moment(p.GetReloadedAt()), Error: printable.Line(p.GetError()),
	}
}
