package supervisor

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"pgo/internal/sockets"
	"pgo/proto"
)

// How often pgod looks whether something listens at the containers' host ports, and how soon again
// before it says that nothing does: a worker may just be about to report that a container is gone.
const (
	portLook   = 30 * time.Second
	portRelook = 10 * time.Second
)

// hostPort is a host port that a service's container has.
type hostPort struct {
	service, container string
	ip                 string
	port               int
	protocol           string
}

// String is for people.
func (p hostPort) String() string {
	return fmt.Sprintf("nothing listens at the host port %s/%s of %s any more: its docker-proxy has ended, and restart brings it back",
		net.JoinHostPort(p.ip, strconv.Itoa(p.port)), p.protocol, p.container)
}

// texts has them for people.
func texts(all []hostPort) (lines []string) {
	for _, p := range all {
		lines = append(lines, p.String())
	}
	return lines
}

// deafAt returns those of the addresses at which a container is known not to be reached through its
// port any more, if that is still so.
func deafAt(use portJSON, services []seen, listeners []sockets.Socket) (addresses []string) {
	for _, s := range services {
		for _, p := range s.deaf {
			same := p.service == use.Service && p.container == use.Container && p.port == use.First && p.protocol == use.Protocol
			if same && slices.Contains(use.Addresses, p.ip) && !slices.ContainsFunc(listeners, p.isAt) {
				addresses = append(addresses, p.ip)
			}
		}
	}
	return addresses
}

// portWatch finds host ports at which nothing listens although a running container has them. From
// outside, the kernel may still lead to the container; from this host nothing does.
type portWatch struct {
	// heard has the addresses at which an engine is known to listen by itself, which it need not.
	heard  map[engineAddress]bool
	silent []hostPort // in the last look
}

type engineAddress struct{ engine, ip string }

// look returns the ports at which nothing has listened in this look and in the one before, and
// whether to look again soon.
func (w *portWatch) look(services []seen, listeners []sockets.Socket) (deaf []hostPort, soon bool) {
	if w.heard == nil {
		w.heard = map[engineAddress]bool{}
	}
	var quiet []hostPort
	engine := map[string]string{}
	for _, s := range services {
		// While a change runs, what the worker has reported is too old.
		if s.state != ready || s.report.GetActivity() != proto.State_ACTIVITY_IDLE {
			continue
		}
		engine[s.service.Name] = s.service.DockerHost
		for _, used := range containerUses([]seen{s}) {
			p := hostPort{s.service.Name, used.Container, used.Addresses[0], used.First, used.Protocol}
			if slices.ContainsFunc(listeners, p.isAt) {
				w.heard[engineAddress{s.service.DockerHost, p.ip}] = true
			} else if p.protocol == "tcp" || p.protocol == "udp" {
				quiet = append(quiet, p)
			}
		}
	}
	quiet = slices.DeleteFunc(quiet, func(p hostPort) bool { return !w.heard[engineAddress{engine[p.service], p.ip}] })
	for _, p := range quiet {
		if slices.Contains(w.silent, p) {
			deaf = append(deaf, p)
		}
	}
	w.silent = quiet
	return deaf, len(deaf) < len(quiet)
}

// isAt reports whether the socket is the one of this port. One for all addresses of the other
// family is not.
func (p hostPort) isAt(l sockets.Socket) bool {
	return l.Port == p.port && l.Protocol == p.protocol && l.IP == p.ip
}

// watchPorts puts into the status of each service, until pgod ends, at which of its host ports
// nothing listens.
func (s *Supervisor) watchPorts() {
	var watch portWatch
	timer := time.NewTimer(portRelook)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.ending:
			return
		}
		services := s.overview()
		var listeners []sockets.Socket
		if slices.ContainsFunc(services, func(one seen) bool { return len(one.report.GetPorts()) > 0 }) {
			listeners = sockets.Listening()
		}
		deaf, soon := watch.look(services, listeners)
		for _, i := range s.all() {
			var own []hostPort
			for _, p := range deaf {
				if p.service == i.service.Name {
					own = append(own, p)
				}
			}
			if i.view.setDeaf(own) && len(own) > 0 {
				i.log.Error("nothing listens at a host port of a container", "ports", texts(own))
			}
		}
		timer.Reset(portLook)
		if soon {
			timer.Reset(portRelook)
		}
	}
}
