package supervisor

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"pgo/internal/printable"
	"pgo/internal/sshd"
	"pgo/internal/target"
)

// Knows reports whether the key is an operator's or belongs to any service, and to which ones. It
// waits for workers that have yet to report their keys, but not for one that has failed: a
// stranger learns nothing from that.
func (s *Supervisor) Knows(ctx context.Context, key ssh.PublicKey) (sshd.Party, bool) {
	if s.operators.has(key) {
		return sshd.Party{Operator: true}, true
	}
	instances := s.all()
	if services := having(instances, key); len(services) > 0 {
		return sshd.Party{Services: services}, true
	}
	ctx, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	for _, i := range instances {
		select {
		case <-i.view.judged:
		case <-ctx.Done():
		}
		if i.view.keys.has(key) {
			return sshd.Party{Services: having(instances, key)}, true
		}
	}
	// Nobody knows who it is now; but whoever was let in before may be told what is wrong.
	var names []string
	for _, i := range instances {
		if i.view.hadKey(key) {
			names = append(names, i.service.Name)
		}
	}
	return sshd.Party{Services: names}, len(names) > 0
}

// having returns the names of the services that have the key.
func having(instances []*instance, key ssh.PublicKey) []string {
	var names []string
	for _, i := range instances {
		if i.view.keys.has(key) {
			names = append(names, i.service.Name)
		}
	}
	return names
}

// Run carries out one command if the session's key may run it.
func (s *Supervisor) Run(ctx context.Context, session sshd.Command) sshd.Exit {
	command := session.Command
	operator := s.operators.has(session.Identity.Key)
	operation, ok := target.Lookup(command.Scope(), command.Operation)
	if !ok {
		return usage(errors.New("no such operation"))
	}
	i, exit := s.authorize(session, operation, operator)
	if exit.Status != 0 {
		return exit
	}
	args, err := operation.ParseArgs(command.Args, operator)
	if err != nil {
		return usage(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if i != nil || operator {
		go func() {
			if s.revoked(ctx, session.Identity.Key, i) {
				cancel(errRevoked)
			}
		}()
	}
	exit = s.carryOut(ctx, i, session, args, operator)
	if errors.Is(context.Cause(ctx), errRevoked) {
		return unauthorized(session)
	}
	return exit
}

func (s *Supervisor) carryOut(ctx context.Context, i *instance, session sshd.Command, args target.Args, operator bool) sshd.Exit {
	if i == nil {
		return s.host.run(ctx, session, args)
	}
	if do, ok := onService[session.Command.Operation]; ok {
		return do(i, session, args)
	}
	if args.Has("--no-tty") || args.Has("--detach") {
		session = session.WithoutTerminal()
	}
	return i.forward(ctx, session, operator)
}

// errRevoked is the reason for ending a command whose key may no longer run it.
var errRevoked = errors.New("the key was removed")

// revoked returns true once the key is neither an operator's nor, unless i is nil for the host,
// the service's. It returns false if ctx ends first.
func (s *Supervisor) revoked(ctx context.Context, key ssh.PublicKey, i *instance) bool {
	for {
		operator, appointed := s.operators.watch(key)
		has, rekeyed := false, (<-chan struct{})(nil)
		if i != nil {
			has, rekeyed = i.view.keys.watch(key)
		}
		if !operator && !has {
			return true
		}
		select {
		case <-appointed:
		case <-rekeyed:
		case <-ctx.Done():
			return false
		}
	}
}

// authorize returns the instance that the command is about, nil for the host, or the refusal. A
// client without access gets the same answer whether or not the service exists.
func (s *Supervisor) authorize(session sshd.Command, operation target.Operation, operator bool) (*instance, sshd.Exit) {
	name := session.Command.Service
	if name == "" {
		if operation.OperatorOnly && !operator {
			return nil, unauthorized(session)
		}
		return nil, sshd.Exit{}
	}
	i := s.instance(name)
	trouble, removing := s.isRemoving(name)
	switch {
	case i == nil && operator && removing:
		return nil, sshd.Exit{Status: target.StatusConflict, Message: beingRemoved(name, trouble)}
	case i == nil && operator && s.isKept(name):
		return nil, sshd.Exit{Status: target.StatusConflict, Message: name + " is not configured any more, and is left as it is, without a worker: see //status"}
	case i == nil && operator:
		return nil, sshd.Exit{Status: target.StatusNotFound, Message: "no service " + name + " is configured"}
	case i == nil:
		return nil, unauthorized(session)
	case operator:
		return i, sshd.Exit{}
	case !i.view.get().keysKnown:
		return nil, i.notFetched(session.Identity.Key)
	case !i.view.keys.has(session.Identity.Key):
		return nil, unauthorized(session)
	case operation.OperatorOnly:
		return nil, sshd.Exit{
			Status:  target.StatusUnauthorized,
			Message: fmt.Sprintf("Unauthorized: %s is for operators", operation.Name),
		}
	}
	return i, sshd.Exit{}
}

// beingRemoved says that the service is being removed, and what prevents that.
func beingRemoved(name, trouble string) string {
	text := name + " is not configured any more, and is being removed"
	if trouble != "" {
		text += ": " + trouble
	}
	return text
}

// unauthorized is the exit of a session whose key may not use what the session is about.
func unauthorized(session sshd.Command) sshd.Exit {
	return sshd.Exit{
		Status:  target.StatusUnauthorized,
		Message: target.Unauthorized(session.Identity.User, session.Command.Service),
	}
}

func usage(err error) sshd.Exit {
	return sshd.Exit{Status: target.StatusUsage, Message: err.Error()}
}

// notFetched is the exit of a session while nobody knows whose keys the service has. Only whoever
// had one before may be told what is wrong.
func (i *instance) notFetched(key ssh.PublicKey) sshd.Exit {
	if i.view.hadKey(key) {
		return unavailable(i)
	}
	message := i.service.Name + " has not been fetched yet"
	if v := i.view.get(); v.err == nil && v.report.GetError() == "" {
		message += ": try again in a moment"
	} else {
		message += ", and cannot be: its status tells an operator why"
	}
	return sshd.Exit{Status: target.StatusUnavailable, Message: message}
}

func unavailable(i *instance) sshd.Exit {
	v := i.view.get()
	message := v.unavailable(i.service.Name)
	if v.state == ready {
		message = fmt.Sprintf("%s has not been fetched yet", i.service.Name)
		if err := v.report.GetError(); err != "" {
			message += ": " + err
		} else {
			message += ": try again in a moment"
		}
	}
	return sshd.Exit{Status: target.StatusUnavailable, Message: printable.Text(message)}
}
