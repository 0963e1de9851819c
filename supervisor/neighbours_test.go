package supervisor

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc"
	protobuf "google.golang.org/protobuf/proto"

	"pgo/internal/caddyfile"
	"pgo/internal/config"
	"pgo/internal/ports"
	"pgo/proto"
)

var (
	webService = config.Service{
		Name:  "web",
		Ports: []ports.Range{{First: 8080, Last: 8080}},
		URLs:  []config.Route{{URL: "web.example.org", Targets: []config.Target{{Host: "Front", Port: 80}, {Host: "front2", Port: 80}}}},
	}
	dbService = config.Service{
		Name:  "db",
		Ports: []ports.Range{{First: 5432, Last: 5440}},
		URLs:  []config.Route{{URL: "db.example.org", Targets: []config.Target{{Host: "db", Port: 80}}}},
	}
	shopService = config.Service{Name: "shop"}
)

func TestNeighbours(t *testing.T) {
	all := []config.Service{webService, shopService, dbService}
	for _, test := range []struct {
		service config.Service
		want    *proto.Neighbours
	}{
		{shopService, &proto.Neighbours{
			Services: []string{"db", "web"},
			Granted:  []*proto.PortRange{{First: 2222, Last: 2222}, {First: 5432, Last: 5440}, {First: 8080, Last: 8080}},
			Reserved: map[string]string{"front": "web", "front2": "web", "db": "db"},
		}},
		{webService, &proto.Neighbours{
			Services: []string{"db", "shop"},
			Granted:  []*proto.PortRange{{First: 2222, Last: 2222}, {First: 5432, Last: 5440}},
			Reserved: map[string]string{"db": "db"},
		}},
	} {
		for _, order := range [][]config.Service{all, {dbService, webService, shopService}} {
			if got := neighboursOf(test.service, order, 2222); !protobuf.Equal(got, test.want) {
				t.Errorf("neighbours of %s:\n got %v\nwant %v", test.service.Name, got, test.want)
			}
		}
	}
}

// A proxy gets the urls of all services, including its own; nobody else does.
func TestNeighboursOfAProxy(t *testing.T) {
	proxy := config.Service{
		Name: "default", Import: "caddy/Caddyfile-import",
		URLs: []config.Route{{URL: "default.example.org", Scheme: "https", Host: "default.example.org", Port: 443, Targets: []config.Target{{Host: "caddy", Port: 8080}}}},
	}
	web := config.Service{
		Name: "web",
		URLs: []config.Route{
			{URL: "web.example.org", Scheme: "https", Host: "web.example.org", Port: 443, Targets: []config.Target{{Host: "front", Port: 80}}},
			{URL: "http://web.example.org:8080/a", Scheme: "http", Host: "web.example.org", Port: 8080, Path: "/a", Targets: []config.Target{{Host: "front", Port: 80}}},
		},
	}
	all := []config.Service{web, proxy}
	if got, want := neighboursOf(proxy, all, 0).GetSnippet(), caddyfile.Render(all, ""); got != want || !strings.Contains(got, "reverse_proxy front:80") {
		t.Errorf("the proxy gets %q, want %q", got, want)
	}
	if got := neighboursOf(proxy, all, 0).GetPorts(); len(got) != 1 || got["http://web.example.org:8080/a"] != 8080 {
		t.Errorf("the proxy gets the ports %v", got)
	}
	if got := neighboursOf(web, all, 0); got.GetSnippet() != "" || got.GetPorts() != nil {
		t.Errorf("a service other than the proxy gets %v", got)
	}
}

// A reload that adds a service leaves the others' workers alone, and tells them about it.
func TestApplyTellsTheNeighbours(t *testing.T) {
	s := newSupervisor(t)
	defer s.Close(t.Context())
	web, db := webService, dbService
	web.User, db.User = "nobody-has-this-name", "nobody-has-this-name"
	s.Apply([]config.Service{web}, nil, 2222)
	before := s.instance("web")
	s.Apply([]config.Service{web, db}, nil, 2222)
	if s.instance("web") != before {
		t.Error("a service whose entry is the same has a new instance")
	}
	for name, other := range map[string]config.Service{"web": db, "db": web} {
		got, _ := s.instance(name).neighbours.get()
		if want := neighboursOf(config.Service{Name: name}, []config.Service{other}, 2222); !protobuf.Equal(got, want) {
			t.Errorf("neighbours of %s:\n got %v\nwant %v", name, got, want)
		}
	}
}

// adjusted is a worker that only notes its neighbours.
type adjusted struct {
	proto.WorkerClient
	calls chan *proto.Neighbours
	err   error
}

func (a *adjusted) Adjust(ctx context.Context, r *proto.AdjustRequest, _ ...grpc.CallOption) (*proto.AdjustReply, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return nil, errors.New("called without a deadline")
	}
	a.calls <- r.GetNeighbours()
	return &proto.AdjustReply{}, a.err
}

// Neighbours that change while a worker is being started reach it as well, and nothing is sent
// twice.
func TestWorkerLearnsItsNeighbours(t *testing.T) {
	a, b, c := &proto.Neighbours{Services: []string{"a"}}, &proto.Neighbours{Services: []string{"b"}}, &proto.Neighbours{Services: []string{"c"}}
	i := newInstance(newSupervisor(t).launcher, config.Service{Name: "web"}, a)
	worker := &adjusted{calls: make(chan *proto.Neighbours)}
	p := &process{rpc: worker, neighbours: a}
	i.neighbours.configure(b) // the worker was launched with a

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		i.adjust(ctx, p)
		close(ended)
	}()
	if got := <-worker.calls; !protobuf.Equal(got, b) {
		t.Errorf("told %v, want %v", got, b)
	}
	i.neighbours.configure(protobuf.CloneOf(b))
	i.neighbours.configure(c)
	if got := <-worker.calls; !protobuf.Equal(got, c) {
		t.Errorf("told %v, want %v", got, c)
	}
	cancel()
	<-ended
}

// A worker that cannot be told would act on outdated facts, so it ends.
func TestWorkerThatCannotBeToldIsReplaced(t *testing.T) {
	i := newInstance(newSupervisor(t).launcher, config.Service{Name: "web"}, &proto.Neighbours{Services: []string{"b"}})
	worker := &adjusted{calls: make(chan *proto.Neighbours, 1), err: errors.New("no")}
	p := asleep(t)
	p.rpc = worker
	go i.adjust(t.Context(), p)
	if e, is := (<-i.events).(silent); !is || e.process != p {
		t.Errorf("got %v", e)
	}
}
