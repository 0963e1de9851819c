package deploy

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/procfs"

	"pgo/internal/sockets"
	"pgo/worker/compose"
)

func TestCollision(t *testing.T) {
	tcp := func(service, ip string, first, last int) compose.HostPort {
		return compose.HostPort{Service: service, IP: ip, First: first, Last: last, Protocol: "tcp"}
	}
	udp := tcp("dns", "", 53, 53)
	udp.Protocol = "udp"
	for _, test := range []struct {
		name   string
		asked  []compose.HostPort
		wanted map[string]int
		want   string
	}{
		{"one each", []compose.HostPort{tcp("web", "", 80, 80), tcp("api", "", 81, 81)}, map[string]int{"web": 1, "api": 1}, ""},
		{"two containers, one port", []compose.HostPort{tcp("web", "", 80, 80)}, map[string]int{"web": 2}, "2 containers of web cannot share the host port 80"},
		{"two containers, two ports", []compose.HostPort{tcp("web", "", 80, 81)}, map[string]int{"web": 2}, ""},
		{"two services, one port", []compose.HostPort{tcp("web", "", 80, 80), tcp("api", "127.0.0.1", 80, 80)}, map[string]int{"web": 1, "api": 1}, "web and api cannot both have the host port 80"},
		{"two services, one of them off", []compose.HostPort{tcp("web", "", 80, 80), tcp("api", "", 80, 80)}, map[string]int{"web": 1, "api": 0}, ""},
		{"two addresses", []compose.HostPort{tcp("web", "10.0.0.1", 80, 80), tcp("api", "127.0.0.1", 80, 80)}, map[string]int{"web": 1, "api": 1}, ""},
		{"two protocols", []compose.HostPort{tcp("dns", "", 53, 53), udp}, map[string]int{"dns": 1}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := collision(test.asked, test.wanted)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// What listens for a rootless engine may have been given the right to low ports.
func TestShut(t *testing.T) {
	without, with := procfs.ProcStatus{CapEff: ^uint64(1 << 10)}, procfs.ProcStatus{CapEff: 1 << 10}
	for _, test := range []struct {
		doors []procfs.ProcStatus
		want  bool
	}{
		{nil, false},
		{[]procfs.ProcStatus{without}, true},
		{[]procfs.ProcStatus{without, with}, false},
	} {
		if got := shut(test.doors); got != test.want {
			t.Errorf("%+v: %v", test.doors, got)
		}
	}
}

func TestTaken(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	busy := listener.Addr().(*net.TCPAddr).Port
	cfg := Config{Name: "web", Dir: t.TempDir()}
	s := newHostPorts(cfg, newWorkspace(cfg), nil, &compose.Engine{})
	nobody := func(string) string { return "" }
	loopback := compose.HostPort{IP: "127.0.0.1", Protocol: "tcp"}
	if err := taken("web", loopback, busy, nil, s.listeners(), nobody); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("taken by the program deploy.test of this host (pid %d)", os.Getpid())) {
		t.Errorf("a port that is listened on: %v", err)
	}
	own := []compose.Published{{Container: "web-1", Project: "web", IP: "0.0.0.0", Port: busy, Protocol: "tcp"}}
	if err := taken("web", loopback, busy, own, s.listeners(), nobody); err != nil {
		t.Errorf("its own port: %v", err)
	}
	other := []compose.Published{{Container: "shop-1", Project: "shop", IP: "0.0.0.0", Port: busy, Protocol: "tcp"}}
	if err := taken("web", loopback, busy, other, nil, nobody); err == nil || !strings.Contains(err.Error(), "the container shop-1") {
		t.Errorf("a port of another service: %v", err)
	}
	other[0].Protocol = "udp"
	if err := taken("web", loopback, busy, other, nil, nobody); err != nil {
		t.Errorf("another protocol: %v", err)
	}
}

// A container on the host's network is named, not what runs in it.
func TestWhose(t *testing.T) {
	named := func(id string) string { return map[string]string{"abc": "shop-web-1"}[id] }
	for container, want := range map[string]string{
		"":    "the program caddy of this host (pid 7)",
		"abc": "the container shop-web-1, which uses the network of the host",
		"def": "the program caddy of this host (pid 7)",
	} {
		if got := whose(sockets.Program{PID: 7, Name: "caddy", Container: container}, named); got != want {
			t.Errorf("%q: %s, want %s", container, got, want)
		}
	}
}
