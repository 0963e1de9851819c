package supervisor

import (
	"net"
	"strconv"

	"pgo/internal/config"
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
