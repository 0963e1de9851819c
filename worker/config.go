package worker

import (
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"pgo/internal/gitserver"
	"pgo/internal/policy"
	"pgo/proto"
	"pgo/worker/compose"
	"pgo/worker/deploy"
	"pgo/worker/gitrepo"
)

// serviceConfig returns the configured entry as the packages below need it.
func serviceConfig(r *proto.ConfigureRequest) deploy.Config {
	cfg := deploy.Config{
		Name:    r.GetName(),
		Dir:     r.GetDir(),
		Remote:  remote(r),
		Branch:  r.GetBranch(),
		Compose: r.GetCompose(),
		Ignore:  r.GetIgnore(),
		Adopt:   r.GetAdopt(),
		Timeout: time.Duration(r.GetTimeoutMs()) * time.Millisecond,
		Project: compose.Project{
			Profiles: r.GetProfiles(),
			Env:      r.GetEnv(),
			Marker:   markerOf(r),
			Host:     r.GetDockerHost(),
			Proxies:  compose.Proxies{HTTP: r.GetWebProxies().GetHttp(), HTTPS: r.GetWebProxies().GetHttps(), No: r.GetWebProxies().GetNone()},
			CA:       r.GetCa(),
		},
		InPlace:    r.GetInPlace(),
		StartFirst: r.GetStartFirst(),
		Rollback:   r.GetRollback(),
		Gate:       time.Duration(r.GetGateMs()) * time.Millisecond,
		Limits: policy.Limits{
			Root:      r.GetLimits().GetRoot(),
			Ports:     proto.Ranges(r.GetLimits().GetPorts()),
			Networks:  r.GetLimits().GetNetworks(),
			Allow:     r.GetLimits().GetAllow(),
			Forbidden: r.GetLimits().GetForbidden(),
		},
	}
	if p := r.GetProxy(); p != nil {
		cfg.Proxy = &deploy.Proxy{
			Import: p.GetImport(), Switch: proto.SwitchPrefix(p.GetImport()), Service: p.GetService(), Command: p.GetCommand(),
		}
	}
	for _, route := range r.GetRoutes() {
		cfg.Routes = append(cfg.Routes, deploy.Route{URL: route.GetUrl(), Targets: route.GetTargets()})
	}
	for _, registry := range r.GetRegistries() {
		cfg.Registries = append(cfg.Registries, compose.Registry{
			Host:     registry.GetHost(),
			User:     registry.GetUser(),
			Password: registry.GetPassword(),
		})
	}
	return cfg
}

// remote returns where the repository is and how to get there.
func remote(r *proto.ConfigureRequest) gitrepo.Remote {
	p := r.GetWebProxies()
	return gitrepo.Remote{
		URL: r.GetRepository(), Key: r.GetGitKey(), Submodules: submoduleServers(r.GetLimits().GetAllow()),
		Proxy: httpproxy.Config{HTTPProxy: p.GetHttp(), HTTPSProxy: p.GetHttps(), NoProxy: p.GetNone()}, CA: r.GetCa(),
	}
}

// submoduleServers returns the servers from which entries of `allow` let submodules come.
func submoduleServers(allow []string) []string {
	var servers []string
	for _, entry := range allow {
		if server, found := strings.CutPrefix(entry, gitserver.Entry); found {
			servers = append(servers, server)
		}
	}
	return servers
}

// neighbours returns what the host has next to the service.
func neighbours(n *proto.Neighbours) deploy.Neighbours {
	all := deploy.Neighbours{
		Services: n.GetServices(), Granted: proto.Ranges(n.GetGranted()), Reserved: n.GetReserved(), Snippet: n.GetSnippet(), Ports: n.GetPorts(),
		SwitchedSnippet: n.GetSwitchedSnippet(), SwitchesRoot: proto.SwitchesRoot, Switches: map[string]map[string]string{},
		Switched: proto.SwitchMap(n.GetSwitched()), CannotSwitch: n.GetCannotSwitch(),
	}
	for service, switches := range n.GetSwitches() {
		all.Switches[service] = proto.SwitchMap(switches)
	}
	return all
}
