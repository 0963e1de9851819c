package deploy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"pgo/worker/compose"
)

// portsFree returns an error if a host port that the candidate asks for is
// taken by somebody else: to find out by taking down what runs would be late.
func (s *Service) portsFree(ctx context.Context, c *candidate) error {
	asked := c.resolved.HostPorts()
	if len(asked) == 0 {
		return nil
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
	if listens(port.IP, n, port.Protocol) {
		return fmt.Errorf("port %d is taken by a program of this host; it is tried again", n)
	}
	return nil
}

// sameAddress tells whether two addresses to listen at are in each other's way.
func sameAddress(a, b string) bool {
	every := func(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }
	return a == b || every(a) || every(b)
}

// listens tells whether some program has the port. What cannot be found out
// without more rights counts as free: the engine will tell.
func listens(ip string, port int, protocol string) bool {
	address := net.JoinHostPort(ip, strconv.Itoa(port))
	var err error
	switch protocol {
	case "tcp":
		var l net.Listener
		if l, err = net.Listen("tcp", address); err == nil {
			_ = l.Close()
		}
	case "udp":
		var l net.PacketConn
		if l, err = net.ListenPacket("udp", address); err == nil {
			_ = l.Close()
		}
	}
	return errors.Is(err, syscall.EADDRINUSE)
}
