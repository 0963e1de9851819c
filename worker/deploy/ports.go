package deploy

import (
	"context"
	"fmt"
	"strings"

	"github.com/prometheus/procfs"

	"pgo/worker/compose"
)

// portsFree returns an error if a host port that the candidate asks for is
// taken by somebody else: to find out by taking down what runs would be late.
func (s *Service) portsFree(ctx context.Context, c *candidate) error {
	asked := c.resolved.HostPorts()
	if len(asked) == 0 {
		return nil
	}
	if len(asked) > maxPorts {
		return verdict{fmt.Errorf("it asks for %d host ports: no more than %d are possible", len(asked), maxPorts)}
	}
	if err := collision(asked, c.resolved.Wanted()); err != nil {
		return verdict{err}
	}
	published, err := s.engine.PublishedPorts(ctx)
	if err != nil {
		return err
	}
	listeners := s.listeners()
	for _, port := range asked {
		var why error
		for n := port.First; n <= port.Last; n++ {
			if why = taken(s.cfg.Name, port, n, published, listeners); why == nil {
				break // one of a range is enough
			}
		}
		if why != nil {
			return why
		}
	}
	return nil
}

// maxPorts bounds how many entries of ports a model may have.
const maxPorts = 2000

// collision returns an error if a model asks for more than there is of a host
// port: to start it would fail half-way.
func collision(asked []compose.HostPort, wanted map[string]int) error {
	for i, p := range asked {
		if n := wanted[p.Service]; n > p.Last-p.First+1 {
			return fmt.Errorf("%d containers of %s cannot share the host port %d: publish a range, or have one container", n, p.Service, p.First)
		}
		for _, q := range asked[:i] {
			if p.First == p.Last && q.First == q.Last && p.First == q.First && p.Protocol == q.Protocol && sameAddress(p.IP, q.IP) &&
				wanted[p.Service] > 0 && wanted[q.Service] > 0 {
				return fmt.Errorf("%s and %s cannot both have the host port %d", q.Service, p.Service, p.First)
			}
		}
	}
	return nil
}

// taken tells who has a host port, if it is not the service itself.
func taken(service string, port compose.HostPort, n int, published []compose.Published, listeners []listener) error {
	for _, p := range published {
		if p.Port != n || p.Protocol != port.Protocol || !sameAddress(p.IP, port.IP) {
			continue
		}
		if p.Project == service {
			return nil // its own, which it gives up
		}
		return fmt.Errorf("port %d is taken by the container %s; it is tried again", n, p.Container)
	}
	for _, l := range listeners {
		if l.port == n && l.protocol == port.Protocol && sameAddress(l.ip, port.IP) {
			return fmt.Errorf("port %d is taken by a program of this host; it is tried again", n)
		}
	}
	return nil
}

// sameAddress tells whether two addresses to listen at are in each other's way. An
// address of IPv4 is not in the way of all of IPv6.
func sameAddress(a, b string) bool {
	every := func(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }
	switch {
	case a == b, every(a) && every(b):
		return true
	case every(a):
		return a == "" || (a == "::") == strings.Contains(b, ":")
	case every(b):
		return sameAddress(b, a)
	}
	return false
}

// listener is a socket of this host that something listens at.
type listener struct {
	ip       string
	port     int
	protocol string
}

// listening is the state of a TCP socket that waits for connections.
const listening = 0x0a

// listeners are the sockets that programs of this host listen at. The kernel's tables
// tell: to try a port would take rights, and the port for a moment. What cannot be
// found out counts as free: the engine will tell.
func (s *Service) listeners() []listener {
	if s.project.Host != "" && !strings.HasPrefix(s.project.Host, "unix:") {
		return nil // another host's ports
	}
	if deployed, err := s.loadDeployed(); err == nil && deployed.OnHostNetwork() {
		return nil // they may well be its own
	}
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return nil
	}
	var all []listener
	//lint:ignore SA1019 slow where there are very many sockets; what it names instead needs modules of the kernel
	for _, table := range []func() (procfs.NetTCP, error){proc.NetTCP, proc.NetTCP6} {
		sockets, _ := table()
		for _, socket := range sockets {
			if socket.St == listening {
				all = append(all, listener{socket.LocalAddr.String(), int(socket.LocalPort), "tcp"})
			}
		}
	}
	for _, table := range []func() (procfs.NetUDP, error){proc.NetUDP, proc.NetUDP6} {
		sockets, _ := table()
		for _, socket := range sockets {
			if socket.RemPort == 0 {
				all = append(all, listener{socket.LocalAddr.String(), int(socket.LocalPort), "udp"})
			}
		}
	}
	return all
}
