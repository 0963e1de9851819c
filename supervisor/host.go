package supervisor

import (
	"context"
	"io"
	"os"
	"strings"

	"pgo/internal/config"
	"pgo/internal/sshd"
	"pgo/internal/target"
	"pgo/internal/version"
)

// onHost are the operations without a service. All of them but services are for
// operators, and none asks a worker for more than it has reported, but top.
var onHost = map[string]func(*Supervisor, context.Context, sshd.Command, target.Args) sshd.Exit{
	"ping":     (*Supervisor).pingHost,
	"services": (*Supervisor).showServices,
	"status":   (*Supervisor).showHostStatus,
	"ports":    (*Supervisor).showPorts,
	"metrics":  (*Supervisor).showMetrics,
	"reload":   (*Supervisor).runReload,
	"top":      (*Supervisor).runTop,
	"version":  (*Supervisor).showVersion,
}

// runOnHost carries out an operation without a service.
func (s *Supervisor) runOnHost(ctx context.Context, session sshd.Command, args target.Args) sshd.Exit {
	run, ok := onHost[session.Command.Operation]
	if !ok {
		return sshd.Exit{Status: target.StatusFault, Message: "pgod does not know this operation"}
	}
	return run(s, ctx, session, args)
}

func (s *Supervisor) pingHost(_ context.Context, session sshd.Command, _ target.Args) sshd.Exit {
	host, err := os.Hostname()
	if err != nil {
		return sshd.Exit{Status: target.StatusFault, Message: err.Error()}
	}
	return say(session, "pong! "+host+"\n")
}

// showServices lists the services that the key may use, which is all for operators.
func (s *Supervisor) showServices(_ context.Context, session sshd.Command, _ target.Args) sshd.Exit {
	operator := s.isOperator(session.Identity.Key)
	s.mu.Lock()
	instances := s.all()
	s.mu.Unlock()
	var names strings.Builder
	for _, i := range instances {
		if operator || i.view.has(session.Identity.Key) {
			names.WriteString(i.service.Name + "\n")
		}
	}
	return say(session, names.String())
}

func (s *Supervisor) showVersion(_ context.Context, session sshd.Command, _ target.Args) sshd.Exit {
	return say(session, "pgod "+version.String()+"\n")
}

// say is the whole output of an operation. That the client has left is no error
// of pgod's.
func say(session sshd.Command, text string) sshd.Exit {
	_, _ = io.WriteString(session.Stdout, text)
	return sshd.Exit{}
}

// seen is a service as everybody may see it at one moment.
type seen struct {
	service config.Service
	snapshot
}

// overview is all services by name.
func (s *Supervisor) overview() []seen {
	s.mu.Lock()
	instances := s.all()
	s.mu.Unlock()
	all := make([]seen, len(instances))
	for n, i := range instances {
		all[n] = seen{i.service, i.view.get()}
	}
	return all
}
