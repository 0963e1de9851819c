package deploy

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"pgo/internal/printable"
	"pgo/internal/sockets"
	"pgo/worker/compose"
)

// hostPorts finds out which ports of the host a model asks for, and which are in use.
type hostPorts struct {
	name   string
	engine *compose.Engine
	board  *board
	files  *workspace
}

func newHostPorts(cfg Config, files *workspace, board *board, engine *compose.Engine) *hostPorts {
	return &hostPorts{name: cfg.Name, engine: engine, board: board, files: files}
}

// free returns an error if a host port that the candidate asks for is taken by somebody
// else: after taking down what runs it would be too late to find out.
func (p *hostPorts) free(ctx context.Context, c *candidate) error {
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
	published, err := p.engine.PublishedPorts(ctx)
	if err != nil {
		return err
	}
	listeners := p.listeners()
	named := func(id string) string { return p.engine.NameOf(ctx, id) }
	for _, port := range asked {
		var why error
		for n := port.First; n <= port.Last; n++ {
			if why = taken(p.name, port, n, published, listeners, named); why == nil {
				break // one of a range is enough
			}
		}
		if why != nil {
			return why
		}
	}
	return p.areForAll(ctx, asked)
}

// areForAll returns an error if the engine is a rootless one of the service's user on this host and
// could not listen at one of the ports.
func (p *hostPorts) areForAll(ctx context.Context, asked []compose.HostPort) error {
	first := 1024 // if it cannot be read
	if raw, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil {
		_, _ = fmt.Sscan(string(raw), &first)
	}
	low := slices.IndexFunc(asked, func(port compose.HostPort) bool { return port.Last < first })
	if low < 0 || p.engine.Host == "" || !p.onThisHost() {
		return nil
	}
	if rootless, err := p.engine.Rootless(ctx); err != nil || !rootless {
		return err
	}
	all, err := procfs.AllProcs()
	if err != nil {
		return fmt.Errorf("cannot find out what the engine may do: %w", err)
	}
	var doors []procfs.ProcStatus // the programs that listen for rootless engines
	for _, process := range all {
		status, err := process.NewStatus()
		if err == nil && status.Name == "rootlesskit" && status.UIDs[1] == uint64(os.Geteuid()) {
			doors = append(doors, status)
		}
	}
	if shut(doors) {
		return fmt.Errorf("port %d is for root alone, and the Docker engine here is rootless: publish one from %d on, "+
			"or have an operator lower net.ipv4.ip_unprivileged_port_start; it is tried again", asked[low].First, first)
	}
	return nil
}

// shut reports whether none of the programs may listen at a port that is for root alone. Of an engine
// without any, nothing is known.
func shut(doors []procfs.ProcStatus) bool {
	return len(doors) > 0 && !slices.ContainsFunc(doors, func(s procfs.ProcStatus) bool { return s.CapEff&(1<<unix.CAP_NET_BIND_SERVICE) != 0 })
}

// maxPorts bounds how many entries of ports a model may have.
const maxPorts = 2000

// collision returns an error if containers of a model would need the same host port:
// starting them would fail half-way.
func collision(asked []compose.HostPort, wanted map[string]int) error {
	for i, p := range asked {
		if n := wanted[p.Service]; n > p.Last-p.First+1 {
			return fmt.Errorf("%d containers of %s cannot share the host port %d: publish a range, or run only one container", n, p.Service, p.First)
		}
		for _, q := range asked[:i] {
			if p.First == p.Last && q.First == q.Last && p.First == q.First && p.Protocol == q.Protocol && sockets.Overlap(p.IP, q.IP) &&
				wanted[p.Service] > 0 && wanted[q.Service] > 0 {
				return fmt.Errorf("%s and %s cannot both have the host port %d", q.Service, p.Service, p.First)
			}
		}
	}
	return nil
}

// taken returns an error that says what has a host port, if it is not the service itself.
// named returns the name of the container with an ID.
func taken(service string, port compose.HostPort, n int, published []compose.Published, listeners []sockets.Socket, named func(id string) string) error {
	for _, p := range published {
		if p.Port != n || p.Protocol != port.Protocol || !sockets.Overlap(p.IP, port.IP) {
			continue
		}
		if p.Project == service {
			return nil // its own, which it gives up
		}
		return fmt.Errorf("port %d is taken by the container %s; it is tried again", n, p.Container)
	}
	for _, l := range listeners {
		if l.Port == n && l.Protocol == port.Protocol && sockets.Overlap(l.IP, port.IP) {
			return fmt.Errorf("port %d is taken by %s; it is tried again", n, programAt(l, named))
		}
	}
	return nil
}

// programAt names the program that listens at the socket. Only root can find that of
// another user.
func programAt(l sockets.Socket, named func(id string) string) string {
	if p, known := sockets.Programs([]sockets.Socket{l})[l]; known {
		return whose(p, named)
	}
	return "a program of this host; an operator can see it with //ports"
}

// whose names a program, or the container that it is in.
func whose(p sockets.Program, named func(id string) string) string {
	name := ""
	if p.Container != "" {
		name = named(p.Container)
	}
	if name == "" { // the container is of another engine, or gone
		return fmt.Sprintf("the program %s of this host (pid %d)", printable.Line(p.Name), p.PID)
	}
	return fmt.Sprintf("the container %s, which uses the network of the host", name)
}

// listeners returns the sockets at which programs of this host listen. What cannot be found
// out counts as free: the engine will report it.
func (p *hostPorts) listeners() []sockets.Socket {
	if !p.onThisHost() {
		return nil
	}
	if deployed, err := p.files.loadDeployed(); err == nil && deployed.OnHostNetwork() {
		return nil // they may be its own
	}
	return sockets.Listening()
}

// onThisHost reports whether the ports of the service's engine are those of this host.
func (p *hostPorts) onThisHost() bool {
	return p.engine.Host == "" || strings.HasPrefix(p.engine.Host, "unix:")
}

// maxUsed bounds how many host ports are reported, and how many containers that have some.
const maxUsed = 1000

func (p *hostPorts) look(ctx context.Context) error {
	if !p.onThisHost() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	published, onHost, err := p.engine.PortsOf(ctx, p.name)
	if err != nil {
		return err
	}
	p.board.setPorts(published[:min(len(published), maxUsed)], onHost[:min(len(onHost), maxUsed)])
	return nil
}
