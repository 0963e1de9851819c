package supervisor

import (
	"context"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"pgo/internal/config"
	"pgo/internal/sshd"
	"pgo/internal/target"
	"pgo/internal/version"
)

// onHost are the operations without a service. All but services are for operators, and all but
// top use only what the workers have reported.
var onHost = map[string]func(*host, context.Context, sshd.Command, target.Args) sshd.Exit{
	"ping":     (*host).ping,
	"services": (*host).showServices,
	"status":   (*host).showStatus,
	"ports":    (*host).showPorts,
	"metrics":  (*host).showMetrics,
	"reload":   (*host).reload,
	"top":      (*host).top,
	"version":  (*host).showVersion,
}

// host answers operations without a service. It reads what others know, and changes nothing but
// the configuration in force.
type host struct {
	supervisor    *Supervisor
	configuration *Configuration
	connections   atomic.Pointer[func() int] // nil: not counted
}

// run carries out an operation.
func (h *host) run(ctx context.Context, session sshd.Command, args target.Args) sshd.Exit {
	do, ok := onHost[session.Command.Operation]
	if !ok {
		return sshd.Exit{Status: target.StatusFault, Message: "pgod does not know this operation"}
	}
	return do(h, ctx, session, args)
}

func (h *host) ping(_ context.Context, session sshd.Command, _ target.Args) sshd.Exit {
	name, err := os.Hostname()
	if err != nil {
		return sshd.Exit{Status: target.StatusFault, Message: err.Error()}
	}
	return say(session, "pong! "+name+"\n")
}

// showServices lists the services that the key may use: all of them for operators.
func (h *host) showServices(_ context.Context, session sshd.Command, _ target.Args) sshd.Exit {
	operator := h.supervisor.operators.has(session.Identity.Key)
	var names strings.Builder
	for _, i := range h.supervisor.all() {
		if operator || i.view.keys.has(session.Identity.Key) {
			names.WriteString(i.service.Name + "\n")
		}
	}
	return say(session, names.String())
}

func (h *host) showVersion(_ context.Context, session sshd.Command, _ target.Args) sshd.Exit {
	return say(session, "pgod "+version.String()+"\n")
}

// say writes the whole output of an operation. A client that has disconnected is not a fault of
// pgod's.
func say(session sshd.Command, text string) sshd.Exit {
	_, _ = io.WriteString(session.Stdout, text)
	return sshd.Exit{}
}

// seen is a service as others may see it at one moment.
type seen struct {
	service config.Service
	snapshot
}

// overview returns all services, sorted by name.
func (s *Supervisor) overview() []seen {
	instances := s.all()
	all := make([]seen, len(instances))
	for n, i := range instances {
		all[n] = seen{i.service, i.view.get()}
	}
	return all
}
