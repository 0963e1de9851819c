package deploy

import (
	"context"
	"fmt"
	"net"
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
	if err := collision(asked, c.resolved.Wanted()); err != nil {
		return verdict{err}
	}
	published, err := s.engine.PublishedPorts(ctx)
	if err != nil {
		return err
	}
	for _, port := range asked {
		var why error
		for n := port.First; n <= port.Last; n++ {
			if why = s.taken(port, n, published); why == nil {
				break // one of a range is enough
			}
		}
		if why != nil {
			return why
		}
	}
	return nil
}

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

func (s *Service) taken(port compose.HostPort, n int, published []compose.Published) error {
	for _, p := range published {
		if p.Port != n || p.Protocol != port.Protocol || !sameAddress(p.IP, port.IP) {
			continue
		}
		if p.Project == s.cfg.Name {
			return nil // its own, which it gives up
		}
		return fmt.Errorf("port %d is taken by the container %s; it is tried again", n, p.Container)
	}
	if s.project.Host != "" && !strings.HasPrefix(s.project.Host, "unix:") {
		return nil // another host's ports
	}
	if s.onHostNetwork() {
		return nil // it may well be its own
	}
	if listens(port.IP, n, port.Protocol) {
		return fmt.Errorf("port %d is taken by a program of this host; it is tried again", n)
	}
	return nil
}

// onHostNetwork tells whether something that is deployed has the host's own network:
// its ports are known to nobody.
func (s *Service) onHostNetwork() bool {
	deployed, err := s.loadDeployed()
	return err == nil && deployed.OnHostNetwork()
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

// listening is the state of a TCP socket that waits for connections.
const listening = 0x0a

// listens tells whether some program of this host has the port. It asks the kernel's
// tables, since to try would take rights, and the port for a moment. What cannot be
// found out counts as free: the engine will tell.
func listens(ip string, port int, protocol string) bool {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return false
	}
	has := func(local net.IP, number uint64) bool {
		return number == uint64(port) && sameAddress(local.String(), ip)
	}
	switch protocol {
	case "tcp":
		v4, _ := proc.NetTCP()
		v6, _ := proc.NetTCP6()
		for _, socket := range append(v4, v6...) {
			if socket.St == listening && has(socket.LocalAddr, socket.LocalPort) {
				return true
			}
		}
	case "udp":
		v4, _ := proc.NetUDP()
		v6, _ := proc.NetUDP6()
		for _, socket := range append(v4, v6...) {
			if socket.RemPort == 0 && has(socket.LocalAddr, socket.LocalPort) {
				return true
			}
		}
	}
	return false
}
