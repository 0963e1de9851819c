package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pgo/internal/printable"
	"pgo/internal/sshd"
	"pgo/internal/target"
	"pgo/internal/version"
	"pgo/proto"
)

// Knows tells whether any service or the operators' list has the key. While
// workers have yet to tell their keys it waits for them, but not for one that
// has failed: a stranger learns nothing by that.
func (s *Supervisor) Knows(ctx context.Context, key ssh.PublicKey) bool {
	if s.isOperator(key) {
		return true
	}
	s.mu.Lock()
	instances := s.all()
	s.mu.Unlock()
	for _, i := range instances {
		if i.view.has(key) {
			return true
		}
	}
	ctx, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	for _, i := range instances {
		select {
		case <-i.view.judged:
		case <-ctx.Done():
		}
		if i.view.has(key) {
			return true
		}
	}
	return false
}

// Run carries out one command, if the session's key may.
func (s *Supervisor) Run(ctx context.Context, session sshd.Session) sshd.Exit {
	command := session.Command
	operator := s.isOperator(session.Identity.Key)
	operation, ok := target.Lookup(command.Scope(), command.Operation)
	if !ok {
		return usage(errors.New("no such operation"))
	}
	instance, exit := s.authorize(session, operation, operator)
	if exit.Status != 0 {
		return exit
	}
	args, err := operation.ParseArgs(command.Args, operator)
	if err != nil {
		return usage(err)
	}
	if instance == nil {
		return runOnHost(session)
	}
	if local, ok := local[command.Operation]; ok {
		return local(instance, session, args)
	}
	return instance.forward(ctx, session, operator)
}

// authorize returns the instance that the command is about, nil for the host,
// or the refusal. Somebody who may not is told the same, whether or not the
// service exists.
func (s *Supervisor) authorize(session sshd.Session, operation target.Operation, operator bool) (*instance, sshd.Exit) {
	name := session.Command.Service
	unauthorized := sshd.Exit{
		Status:  target.StatusUnauthorized,
		Message: target.Unauthorized(session.Identity.User, name),
	}
	if name == "" {
		if !operator {
			return nil, unauthorized
		}
		return nil, sshd.Exit{}
	}
	i := s.instance(name)
	switch {
	case i == nil && operator:
		return nil, sshd.Exit{Status: target.StatusNotFound, Message: "no service " + name + " is configured"}
	case i == nil:
		return nil, unauthorized
	case operator:
		return i, sshd.Exit{}
	case !i.view.get().keysKnown:
		// Nobody can tell yet whose keys it has.
		return nil, unavailable(i)
	case !i.view.has(session.Identity.Key):
		return nil, unauthorized
	case operation.OperatorOnly:
		return nil, sshd.Exit{
			Status:  target.StatusUnauthorized,
			Message: fmt.Sprintf("Unauthorized: %s is for operators", operation.Name),
		}
	}
	return i, sshd.Exit{}
}

func usage(err error) sshd.Exit {
	return sshd.Exit{Status: target.StatusUsage, Message: err.Error()}
}

func unavailable(i *instance) sshd.Exit {
	v := i.view.get()
	message := v.unavailable(i.service.Name)
	if v.state == ready {
		message = fmt.Sprintf("%s has not been fetched yet", i.service.Name)
		if err := v.report.GetError(); err != "" {
			message += ": " + err
		}
	}
	return sshd.Exit{Status: target.StatusUnavailable, Message: printable.Text(message)}
}

// runOnHost carries out an operation without a service.
func runOnHost(session sshd.Session) sshd.Exit {
	var text string
	switch session.Command.Operation {
	case "ping":
		host, err := os.Hostname()
		if err != nil {
			return sshd.Exit{Status: target.StatusFault, Message: err.Error()}
		}
		text = "pong! " + host
	case "version":
		text = "pgod " + version.String()
	}
	_, _ = fmt.Fprintln(session.Stdout, text)
	return sshd.Exit{}
}

// errRevoked is why a command ends whose key has left the repository.
var errRevoked = errors.New("the key was removed")

// forward has the worker carry out the command. Output goes on as it comes: a
// client that reads slowly slows its own command.
func (i *instance) forward(ctx context.Context, session sshd.Session, operator bool) sshd.Exit {
	v := i.view.get()
	if v.state != ready && v.state != draining {
		return unavailable(i)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !operator {
		go func() {
			if i.view.revoked(ctx, session.Identity.Key) {
				cancel(errRevoked)
			}
		}()
	}
	stream, err := v.process.rpc.Run(ctx)
	if err == nil {
		err = stream.Send(&proto.RunRequest{Message: &proto.RunRequest_Start{Start: &proto.Start{
			Operation:   session.Command.Operation,
			Args:        session.Command.Args,
			User:        printable.Line(session.Identity.User),
			Fingerprint: session.Identity.Fingerprint,
			Operator:    operator,
		}}})
	}
	for err == nil {
		var reply *proto.RunReply
		if reply, err = stream.Recv(); err != nil {
			break
		}
		switch m := reply.GetMessage().(type) {
		case *proto.RunReply_Stdout:
			_, err = session.Stdout.Write(m.Stdout)
		case *proto.RunReply_Stderr:
			_, err = session.Stderr.Write(m.Stderr)
		case *proto.RunReply_Exit:
			return sshd.Exit{Status: m.Exit.GetStatus(), Message: printable.Text(m.Exit.GetMessage())}
		}
	}
	return i.broken(ctx, session, err)
}

// broken is the exit of a command whose worker did not bring it to an end.
func (i *instance) broken(ctx context.Context, session sshd.Session, err error) sshd.Exit {
	switch {
	case errors.Is(context.Cause(ctx), errRevoked):
		return sshd.Exit{
			Status:  target.StatusUnauthorized,
			Message: target.Unauthorized(session.Identity.User, i.service.Name),
		}
	case ctx.Err() != nil:
		return sshd.Exit{Status: target.StatusFault, Message: "the client left; a change that has begun runs on"}
	case status.Code(err) == codes.Unavailable, errors.Is(err, io.EOF):
		return sshd.Exit{
			Status:  target.StatusUnavailable,
			Message: fmt.Sprintf("the worker of %s ended before the command did; a new one is being started", i.service.Name),
		}
	default:
		return sshd.Exit{Status: target.StatusFault, Message: printable.Text(err.Error())}
	}
}
