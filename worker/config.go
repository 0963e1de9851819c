package worker

import (
	"time"

	"pgo/proto"
	"pgo/worker/compose"
	"pgo/worker/deploy"
	"pgo/worker/gitrepo"
)

// serviceConfig is the entry as the packages below want it.
func serviceConfig(r *proto.ConfigureRequest) deploy.Config {
	cfg := deploy.Config{
		Name:    r.GetName(),
		Dir:     r.GetDir(),
		Remote:  gitrepo.Remote{URL: r.GetRepository(), Key: r.GetGitKey()},
		Branch:  r.GetBranch(),
		Compose: r.GetCompose(),
		Ignore:  r.GetIgnore(),
		Timeout: time.Duration(r.GetTimeoutMs()) * time.Millisecond,
		Project: compose.Project{
			Profiles: r.GetProfiles(),
			Env:      r.GetEnv(),
			Marker:   marker(r),
		},
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
