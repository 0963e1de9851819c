package sockets

import (
	"net"
	"os"
	"strings"
	"testing"
)

func TestListening(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tcp.Close() }()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	connected, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connected.Close() }()

	for protocol, port := range map[string]int{"tcp": tcp.Addr().(*net.TCPAddr).Port, "udp": udp.LocalAddr().(*net.UDPAddr).Port} {
		var found []Socket
		for _, s := range Listening() {
			if s.Port == port && s.Protocol == protocol {
				found = append(found, s)
			}
		}
		if len(found) != 1 || found[0].IP != "127.0.0.1" {
			t.Fatalf("listening on port %d of %s: %v", port, protocol, found)
		}
		program := Programs(found)[found[0]]
		if program.PID != os.Getpid() || !strings.HasPrefix("sockets.test", program.Name) {
			t.Errorf("the socket of %s belongs to %+v", protocol, program)
		}
	}
	local := connected.LocalAddr().(*net.TCPAddr).Port
	for _, s := range Listening() {
		if s.Port == local && s.Protocol == "tcp" {
			t.Errorf("a connection is listed as listening: %v", s)
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1", "127.0.0.1", true}, {"127.0.0.1", "10.0.0.1", false}, {"", "127.0.0.1", true}, {"", "::1", true},
		{"0.0.0.0", "127.0.0.1", true}, {"0.0.0.0", "::1", false}, {"::", "127.0.0.1", false}, {"::", "::1", true}, {"::", "0.0.0.0", true},
	} {
		if got := Overlap(test.a, test.b); got != test.want || Overlap(test.b, test.a) != test.want {
			t.Errorf("%q and %q: %v", test.a, test.b, got)
		}
	}
}

func TestInnermost(t *testing.T) {
	a, b := strings.Repeat("0a", 32), strings.Repeat("1b", 32)
	for group, want := range map[string]string{
		"/docker/" + a: a, "/system.slice/docker-" + a + ".scope": a, "/user.slice/user@1000.service/docker-" + a + ".scope/init": a,
		"/docker/" + a + "/docker/" + b: b, "/" + a + "/" + b: b, "/42/" + a: a, "/cafe/" + a: a, "/kubepods/pod-def012345678/" + a: a, "/kubepods/pod1/" + a: a,
		"/": "", "/system.slice/docker.service": "", "/docker/" + a[:63]: "", "/docker/" + a + "0": "", "/docker/" + a + ".slice": "",
	} {
		if got := innermost(group); got != want {
			t.Errorf("%s: %q, not %q", group, got, want)
		}
	}
}
