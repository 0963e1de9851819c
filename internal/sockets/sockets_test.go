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

// An end of a connection is root's as long as the kernel says so, and no longer than it is open.
func TestIsRoots(t *testing.T) {
	for _, network := range []struct{ listen, dial string }{
		{"127.0.0.1:0", "127.0.0.1"}, {":0", "127.0.0.1"}, {"[::1]:0", "::1"}, {":0", "::1"},
	} {
		listener, err := net.Listen("tcp", network.listen)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		_, port, _ := net.SplitHostPort(listener.Addr().String())
		client, err := net.Dial("tcp", net.JoinHostPort(network.dial, port))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		server, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = server.Close() }()
		at, from := server.LocalAddr().(*net.TCPAddr), server.RemoteAddr().(*net.TCPAddr)
		root := os.Getuid() == 0
		if got := IsRoots(at, from); got != root {
			t.Errorf("%+v: user %d: %v", network, os.Getuid(), got)
		}
		other, elsewhere := *from, *at
		other.Port--
		elsewhere.Port--
		if IsRoots(at, &other) || IsRoots(&elsewhere, from) || IsRoots(listener.Addr().(*net.TCPAddr), &net.TCPAddr{IP: at.IP}) {
			t.Errorf("%+v: a connection that does not exist is root's", network)
		}
		if !root {
			continue
		}
		file, err := client.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		if err := file.Chown(65534, 65534); err != nil {
			t.Fatal(err)
		}
		if IsRoots(at, from) {
			t.Errorf("%+v: a socket of nobody is root's", network)
		}
		_, _ = file.Close(), client.Close()
		if IsRoots(at, from) {
			t.Errorf("%+v: a closed socket is root's", network)
		}
	}
}
