package supervisor

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"pgo/internal/config"
	"pgo/internal/hoststat"
	"pgo/internal/ports"
	"pgo/internal/sockets"
	"pgo/proto"
)

func granted(name string, all ...ports.Range) seen {
	return seen{config.Service{Name: name, Ports: all}, snapshot{state: ready, report: &proto.State{}}}
}

func (s seen) uses(all ...*proto.UsedPort) seen {
	s.report = &proto.State{Ports: all}
	return s
}

// onHost are the service's containers in the host's network: IDs, each with a name.
func (s seen) onHost(pairs ...string) seen {
	for n := 0; n < len(pairs); n += 2 {
		s.report.OnHost = append(s.report.OnHost, &proto.HostContainer{Id: pairs[n], Name: pairs[n+1]})
	}
	return s
}

func used(ip string, port int, protocol, container string) *proto.UsedPort {
	return &proto.UsedPort{Ip: ip, Port: uint32(port), Protocol: proto.Value[proto.UsedPort_Protocol](protocol), Container: container}
}

func TestPorts(t *testing.T) {
	services := []seen{
		granted("db", ports.One(5432), ports.Range{First: 9000, Last: 9005}).uses(
			used("127.0.0.1", 5432, "tcp", "db-1"),
			used("", 7000, "tcp", "db-1"),
			used("0.0.0.0", 8081, "tcp", "db-1"),
			used("0.0.0.0", 9002, "tcp", "db-\x1b[2J"), used("::", 9002, "tcp", "db-\x1b[2J"),
			used("0.0.0.0", 70000, "tcp", "no port"), used("0.0.0.0", 0, "tcp", "no port"),
		),
		granted("free").uses(used("0.0.0.0", 6000, "udp", "free-1")).onHost("f1", "free-bare", "both", "free-lies", "", "no ID"),
		granted("host", ports.One(23)).onHost("h1", "host-bare", "both", "host-lies"),
		granted("web", ports.Range{First: 8080, Last: 8082}),
	}
	listeners := []sockets.Socket{
		{IP: "127.0.0.1", Port: 2222, Protocol: "tcp"}, // pgod
		{IP: "10.0.0.1", Port: 2222, Protocol: "tcp"},  // not pgod
		{IP: "127.0.0.1", Port: 5432, Protocol: "tcp"}, // the engine's
		{IP: "0.0.0.0", Port: 9002, Protocol: "tcp"},   // likewise
		{IP: "::", Port: 8080, Protocol: "tcp"},
		{IP: "0.0.0.0", Port: 8080, Protocol: "tcp"},
		{IP: "0.0.0.0", Port: 8082, Protocol: "udp"},
		{IP: "0.0.0.0", Port: 22, Protocol: "tcp"}, // granted to nobody
		{IP: "0.0.0.0", Port: 23, Protocol: "tcp"}, // of a container in the host's network, like some below
		{IP: "::", Port: 23, Protocol: "tcp"},
		{IP: "0.0.0.0", Port: 24, Protocol: "tcp"},
		{IP: "0.0.0.0", Port: 8081, Protocol: "udp"},
		{IP: "0.0.0.0", Port: 25, Protocol: "tcp"},    // two claim it
		{IP: "0.0.0.0", Port: 26, Protocol: "tcp"},    // no pgo container's
		{IP: "0.0.0.0", Port: 41234, Protocol: "udp"}, // perhaps that of a client
		{IP: "0.0.0.0", Port: 41235, Protocol: "tcp"},
	}
	programs := func(of []sockets.Socket) map[sockets.Socket]sockets.Program {
		return map[sockets.Socket]sockets.Program{
			listeners[0]: {PID: os.Getpid(), Name: "pgod"},
			listeners[1]: {PID: 7, Name: "sshd"},
			listeners[7]: {PID: 9, Name: "cupsd"},
			listeners[4]: {PID: 8, Name: "nginx\n"}, listeners[5]: {PID: 8, Name: "nginx\n"},
			listeners[8]: {PID: 10, Name: "telnetd", Container: "h1"}, listeners[9]: {PID: 10, Name: "telnetd", Container: "h1"},
			listeners[10]: {PID: 11, Name: "telnetd", Container: "h1"}, listeners[11]: {PID: 12, Name: "dns", Container: "f1"},
			listeners[14]: {PID: 10, Name: "telnetd", Container: "h1"}, listeners[15]: {PID: 10, Name: "telnetd", Container: "h1"},
			listeners[12]: {PID: 13, Name: "smtpd", Container: "both"}, listeners[13]: {PID: 14, Name: "other", Container: "o1"},
		}
	}
	all := portRows(services, 2222, listeners, programs)
	want := `
PORT       GRANTED  USED BY  PROTOCOL  ADDRESS     CONTAINER OR PROGRAM         PROBLEM
22         -        -        tcp       0.0.0.0     cupsd (pid 9)                -
23         host     host     tcp       0.0.0.0,::  host-bare: telnetd (pid 10)  -
24         -        host     tcp       0.0.0.0     host-bare: telnetd (pid 11)  not granted to host
25         -        -        tcp       0.0.0.0     smtpd (pid 13)               -
26         -        -        tcp       0.0.0.0     other (pid 14)               -
2222       (pgod)   (pgod)   tcp       127.0.0.1   -                            -
2222       (pgod)   -        tcp       10.0.0.1    sshd (pid 7)                 granted to (pgod), used by another program
5432       db       db       tcp       127.0.0.1   db-1                         -
6000       -        free     udp       0.0.0.0     free-1                       -
7000       -        db       tcp       ::          db-1                         not granted to db
8080       web      -        tcp       ::,0.0.0.0  nginx\n (pid 8)              granted to web, used by another program
8081       web      db       tcp       0.0.0.0     db-1                         granted to web, used by db
8081       web      free     udp       0.0.0.0     free-bare: dns (pid 12)      granted to web, used by free
8082       web      -        udp       0.0.0.0     a program                    granted to web, used by another program
9000-9001  db       -        -         -           -                            -
9002       db       db       tcp       0.0.0.0,::  db-\x1b[2J                   -
9003-9005  db       -        -         -           -                            -
41234      -        host     udp       0.0.0.0     host-bare: telnetd (pid 10)  -
41235      -        host     tcp       0.0.0.0     host-bare: telnetd (pid 10)  not granted to host
`
	if got := "\n" + portsTable(all).Text(false); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	row, err := json.Marshal(all[10])
	if want := `{"first":8080,"last":8080,"granted_to":"web","protocol":"tcp","addresses":["::","0.0.0.0"],"program":"nginx\\n","pid":8,` +
		`"conflict":"granted to web, used by another program"}`; err != nil || string(row) != want {
		t.Errorf("got  %s\nwant %s", row, want)
	}
}

// A port at which nothing listens any more is shown with the use that it is about, as long as that is
// so: the list of them may be older than the container.
func TestDeafPortsAreListed(t *testing.T) {
	web := granted("web", ports.One(80), ports.One(81)).uses(
		used("0.0.0.0", 80, "tcp", "web-1"), used("::", 80, "tcp", "web-1"), used("0.0.0.0", 81, "tcp", "web-1"), used("0.0.0.0", 81, "udp", "web-1"))
	web.deaf = []hostPort{
		{"web", "web-1", "::", 80, "tcp"}, {"web", "web-1", "0.0.0.0", 81, "tcp"}, {"web", "web-0", "0.0.0.0", 81, "udp"}, {"web", "web-1", "127.0.0.1", 81, "udp"},
	}
	other := granted("other").uses(used("0.0.0.0", 81, "tcp", "other-1"), used("127.0.0.1", 82, "tcp", "other-1"))
	other.deaf = []hostPort{{"other", "other-1", "0.0.0.0", 81, "tcp"}, {"other", "other-1", "127.0.0.1", 82, "tcp"}}
	nobody := func([]sockets.Socket) map[sockets.Socket]sockets.Program { return nil }
	all := portRows([]seen{web, other}, 0, []sockets.Socket{at("0.0.0.0", 80), at("127.0.0.1", 82)}, nobody)
	want := `
PORT  GRANTED  USED BY  PROTOCOL  ADDRESS     CONTAINER OR PROGRAM  PROBLEM
80    web      web      tcp       0.0.0.0,::  web-1                 nothing listens at :: any more: restart brings it back
81    web      web      tcp       0.0.0.0     web-1                 nothing listens at 0.0.0.0 any more: restart brings it back
81    web      web      udp       0.0.0.0     web-1                 -
81    web      other    tcp       0.0.0.0     other-1               granted to web, used by other; nothing listens at 0.0.0.0 any more: restart brings it back
82    -        other    tcp       127.0.0.1   other-1               -
`
	if got := "\n" + portsTable(all).Text(false); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	row, err := json.Marshal(all[0])
	if want := `{"first":80,"last":80,"granted_to":"web","protocol":"tcp","addresses":["0.0.0.0","::"],"used_by":"web","container":"web-1","deaf":["::"]}`; err != nil || string(row) != want {
		t.Errorf("got  %s\nwant %s", row, want)
	}
}

// Free ports are those that nobody uses and nobody is granted.
func TestFreePorts(t *testing.T) {
	rows := func(pairs ...int) (all []portJSON) {
		for n := 0; n < len(pairs); n += 2 {
			all = append(all, portJSON{rangeJSON: rangeJSON{pairs[n], pairs[n+1]}})
		}
		return all
	}
	for _, test := range []struct {
		rows []portJSON
		want string
	}{
		{nil, "[1-65535]"},
		{rows(1, 1, 65535, 65535), "[2-65534]"},
		{rows(80, 80, 22, 30, 25, 27, 82, 82, 80, 80), "[1-21 31-79 81 83-65535]"},
		{rows(1, 65535), "[]"},
	} {
		var free []ports.Range
		for _, r := range freeOf(test.rows) {
			free = append(free, ports.Range(r))
		}
		if got := fmt.Sprint(free); got != test.want {
			t.Errorf("%v: %s, not %s", test.rows, got, test.want)
		}
	}
	var many []portJSON
	for port := 2; port < 100; port += 2 {
		many = append(many, rows(port, port)...)
	}
	text := freeText(freeOf(many))
	if !strings.HasPrefix(text, "\nfree (granted to nobody and not in use): 1, 3, 5,") || !strings.HasSuffix(text, ", 39, and 30 more ranges: see --json\n") {
		t.Errorf("got %s", text)
	}
	if got := freeText(freeOf(rows(1, 65535))); !strings.HasSuffix(got, ": -\n") {
		t.Errorf("without free ports, got %s", got)
	}
}

// Without grants and uses it is an empty list, and not null.
func TestNoPorts(t *testing.T) {
	if got := hoststat.Encode(portRows(nil, 0, nil, sockets.Programs)); got != "[]\n" {
		t.Errorf("got %s", got)
	}
}

// What a worker reports is bounded.
func TestPortsAreBounded(t *testing.T) {
	var many []*proto.UsedPort
	for n := range 5 * maxUsedPorts {
		many = append(many, used("0.0.0.0", 1+n, "tcp", strings.Repeat("x", 1000)))
	}
	all := portRows([]seen{granted("web").uses(many...)}, 0, nil, sockets.Programs)
	if len(all) != maxUsedPorts {
		t.Errorf("%d ports are shown", len(all))
	}
	if got := len(all[0].Container); got > 300 {
		t.Errorf("a name of %d bytes is shown", got)
	}
}
