package supervisor

import (
	"testing"
	"time"

	protobuf "google.golang.org/protobuf/proto"

	"pgo/internal/config"
	"pgo/internal/ports"
	"pgo/proto"
)

func TestConfigurationHasTheWholeEntry(t *testing.T) {
	got := configureRequest(config.Service{
		Name:       "web",
		Branch:     "main",
		Compose:    "deploy/compose.yaml",
		Profiles:   []string{"debug"},
		Ignore:     true,
		Env:        []config.EnvVar{{Name: "A", Value: config.NewSecret("x=y")}},
		Registries: []config.Registry{{Host: "registry.example.org", User: "u", Password: config.NewSecret("p")}},
		GitKey:     config.NewSecret("key"),
		Deploy:     config.InPlace,
		Rollback:   true,
		Gate:       90 * time.Second,
		Timeout:    time.Minute,
		Interval:   time.Second,
		DockerHost: "unix:///run/user/1001/docker.sock",
	})
	want := &proto.ConfigureRequest{
		Purpose:    proto.ConfigureRequest_PURPOSE_SERVICE,
		Name:       "web",
		Branch:     "main",
		Compose:    "deploy/compose.yaml",
		Profiles:   []string{"debug"},
		Ignore:     true,
		Env:        []string{"A=x=y"},
		Registries: []*proto.Registry{{Host: "registry.example.org", User: "u", Password: "p"}},
		GitKey:     []byte("key"),
		InPlace:    true,
		Rollback:   true,
		GateMs:     90_000,
		TimeoutMs:  60_000,
		IntervalMs: 1000,
		DockerHost: "unix:///run/user/1001/docker.sock",
	}
	if !protobuf.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	if configureRequest(config.Service{Deploy: config.Recreate}).GetInPlace() {
		t.Error("recreate is in-place")
	}
}

func TestLimits(t *testing.T) {
	l := &launcher{opts: Options{Dir: "/var/lib/pgo", SocketDir: "/run/pgo/1", Forbidden: []string{"/etc/pgo.toml"}}}
	service := config.Service{
		Ports:    []ports.Range{{First: 80, Last: 80}, {First: 9000, Last: 9010}},
		Networks: []string{"proxy"},
		Allow:    []string{"bind:/srv/data"},
	}
	want := &proto.Limits{
		Ports:     []*proto.PortRange{{First: 80, Last: 80}, {First: 9000, Last: 9010}},
		Networks:  []string{"proxy"},
		Allow:     []string{"bind:/srv/data"},
		Forbidden: []string{"/var/lib/pgo", "/run/pgo/1", "/etc/pgo.toml"},
	}
	if got := l.limits(service, account{uid: 1000}); !protobuf.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	if !l.limits(service, account{}).GetRoot() {
		t.Error("a service of root is not told so")
	}
}
