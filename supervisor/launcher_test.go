package supervisor

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"
	protobuf "google.golang.org/protobuf/proto"

	"pgo/internal/config"
	"pgo/internal/ports"
	"pgo/proto"
)

func TestConfigurationHasTheWholeEntry(t *testing.T) {
	got := configureRequest(config.Service{
		Name:       "web",
		Branch:     "main",
		Compose:    []string{"deploy/compose.yaml", "deploy/prod.yaml"},
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
		CA:         "certificates",
		Proxies:    config.Proxies{No: "x"},
	})
	want := &proto.ConfigureRequest{
		Purpose:    proto.ConfigureRequest_PURPOSE_SERVICE,
		Name:       "web",
		Branch:     "main",
		Compose:    []string{"deploy/compose.yaml", "deploy/prod.yaml"},
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
		Ca:         []byte("certificates"),
		WebProxies: &proto.WebProxies{None: "x"},
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

// Workers start a few at a time, in the order in which they came, and their deadline begins with
// the start: a hundred at once would all be late.
func TestStartsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &launcher{lookups: semaphore.NewWeighted(100), starts: semaphore.NewWeighted(2)}
		var mu sync.Mutex
		var begun []int
		slow := errors.New("it took long")
		results := make(chan error)
		start := func(ctx context.Context, n int) {
			_, err := l.launch(ctx, errand{
				account: func(context.Context) (account, error) { return account{}, nil },
				take: func(account) (func(), error) {
					mu.Lock()
					begun = append(begun, n)
					mu.Unlock()
					time.Sleep(readyTimeout * 9 / 10) // in the bubble's time
					return nil, cmp.Or(ctx.Err(), slow)
				},
			})
			results <- err
		}
		for n := range 6 {
			go start(t.Context(), n)
			synctest.Wait() // so that their order is known
		}
		impatient, cancel := context.WithCancelCause(t.Context())
		left := errors.New("the entry was removed")
		go start(impatient, 6)
		synctest.Wait()
		if want := []int{0, 1}; !slices.Equal(begun, want) {
			t.Fatalf("%v have begun, want %v", begun, want)
		}
		_, err := l.launch(t.Context(), errand{
			atOnce:  true,
			account: func(context.Context) (account, error) { return account{}, nil },
			take:    func(account) (func(), error) { return nil, slow },
		})
		if err != slow || len(begun) != 2 {
			t.Errorf("one that does not wait ended with %v, after %v", err, begun)
		}
		cancel(left)
		if err := <-results; err != left {
			t.Errorf("one that waited ended with %v", err)
		}
		for range 6 {
			if err := <-results; err != slow {
				t.Errorf("a start ended with %v", err)
			}
		}
		slices.Sort(begun[2:4]) // two at a time begin at once
		slices.Sort(begun[4:])
		if want := []int{0, 1, 2, 3, 4, 5}; !slices.Equal(begun, want) {
			t.Errorf("they began in the order %v", begun)
		}
	})
}
