package supervisor

import (
	"net"
	"strconv"

	"pgo/internal/config"
	"pgo/proto"
)

// configureRequest returns a service's entry as its worker gets it, without the directory.
func configureRequest(s config.Service) *proto.ConfigureRequest {
	r := &proto.ConfigureRequest{
		Purpose:    proto.ConfigureRequest_PURPOSE_SERVICE,
		Name:       s.Name,
		Repository: s.Repository.Reveal(),
		Branch:     s.Branch,
		Compose:    s.Compose,
		Profiles:   s.Profiles,
		Ignore:     s.Ignore,
		Adopt:      s.Adopt,
		GitKey:     []byte(s.GitKey.Reveal()),
		IntervalMs: s.Interval.Milliseconds(),
		TimeoutMs:  s.Timeout.Milliseconds(),
		InPlace:    s.Deploy == config.InPlace || s.Deploy == config.StartFirst,
		StartFirst: s.Deploy == config.StartFirst,
		Rollback:   s.Rollback,
		GateMs:     s.Gate.Milliseconds(),
		DockerHost: s.DockerHost,
		Proxy:      proxyOf(s),
		Routes:     routesOf(s),
		WebProxies: webProxies(s.Proxies),
		Ca:         []byte(s.CA),
	}
	for _, v := range s.Env {
		r.Env = append(r.Env, v.Name+"="+v.Value.Reveal())
	}
	for _, registry := range s.Registries {
		r.Registries = append(r.Registries, &proto.Registry{
			Host: registry.Host, User: registry.User, Password: registry.Password.Reveal(),
		})
	}
	return r
}

// proxyOf returns what a service's worker needs to act as the others' reverse proxy, or nil if
// the service is not one.
func proxyOf(s config.Service) *proto.Proxy {
	if s.Import == "" {
		return nil
	}
	return &proto.Proxy{Import: s.Import, Service: s.Reload.Service, Command: s.Reload.Command}
}

// webProxies returns the proxies, or nil if there are none.
func webProxies(p config.Proxies) *proto.WebProxies {
	if p == (config.Proxies{}) {
		return nil
	}
	return &proto.WebProxies{Http: p.HTTP.Reveal(), Https: p.HTTPS.Reveal(), None: p.No}
}

// routesOf returns a service's own urls.
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
