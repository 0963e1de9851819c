package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"pgo/internal/target"
)

const noShell = "pgo has no shell: write service//operation after the host, for example ssh -p 2222 host -- pgo//ps"

// session is one channel, which carries at most one command.
type session struct {
	*connection
	channel ssh.Channel
	ctx     context.Context // the command's
	cancel  context.CancelCauseFunc
	started bool
	running sync.WaitGroup // the command, and what takes the client's input
}

// signalled is why a command's context ended: the client sent it a signal.
type signalled string

func (s signalled) Error() string { return "the client sent SIG" + string(s) }

// session serves a channel until the client closes it.
func (c *connection) session(ctx context.Context, channel ssh.Channel, requests <-chan *ssh.Request) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &session{connection: c, channel: channel, ctx: ctx, cancel: cancel}
	// No command reads anything, but a client must not block on what it sends. That its
	// input ends says nothing: a stock client without a terminal may have none.
	s.running.Go(func() { _, _ = io.Copy(io.Discard, channel) })
	s.running.Go(func() { _, _ = io.Copy(io.Discard, channel.Stderr()) })
	for r := range requests {
		s.answer(r)
	}
	cancel(nil) // the client closed the channel, or is gone altogether
	s.running.Wait()
}

// answer replies to one request. What is not named here (variables, terminals, subsystems,
// forwarding of agents and displays) is refused, and so is a second command.
func (s *session) answer(r *ssh.Request) {
	var command func() Exit
	value, isString := stringPayload(r.Payload)
	ok := false
	switch r.Type {
	case "exec":
		if ok = isString && !s.started; ok {
			command = func() Exit { return s.run(value) }
		}
	case "shell":
		if ok = !s.started; ok {
			command = func() Exit { return Exit{target.StatusUsage, noShell} }
		}
	case "signal":
		ok = isString && s.started && s.signal(value)
	}
	_ = r.Reply(ok, nil) // before any output
	if command != nil {
		s.started = true
		s.idle.begin()
		s.running.Go(func() { s.carryOut(command) })
	}
}

// carryOut does what was asked for and says how it ended.
func (s *session) carryOut(do func() Exit) {
	defer s.idle.end()
	if !s.server.addCommand() {
		s.finish(Exit{target.StatusUnavailable, "pgod is stopping; try again when it is back"})
		return
	}
	// Not before the client has been told: Shutdown waits for this.
	defer s.server.commands.Done()
	s.finish(do())
}

// signal ends the command if that is what the signal is for.
func (s *session) signal(name string) bool {
	if name != string(ssh.SIGINT) && name != string(ssh.SIGTERM) {
		return false
	}
	s.cancel(signalled(name))
	return true
}

// run carries out one command line.
func (s *session) run(line string) (exit Exit) {
	begun := time.Now()
	var command target.Command
	defer func() {
		if fault := recover(); fault != nil {
			s.server.logFault("a session", fault)
			exit = Exit{target.StatusFault, "pgod has a fault; its log says more"}
		}
		s.logExit(command, exit, time.Since(begun))
	}()
	if len(line) > s.server.limits.Line {
		return Exit{target.StatusUsage, fmt.Sprintf("the command is longer than %d KiB", s.server.limits.Line>>10)}
	}
	command, err := target.ParseCommand(line)
	if err != nil {
		return Exit{target.StatusUsage, err.Error()}
	}
	return s.server.backend.Run(s.ctx, Session{
		Identity: s.identity,
		Command:  command,
		Stdout:   s.channel,
		Stderr:   s.channel.Stderr(),
	})
}

func (s *session) logExit(c target.Command, exit Exit, took time.Duration) {
	log, event := s.log.Info, "command ended"
	if exit.Status == target.StatusUnauthorized {
		log, event = s.log.Warn, "unauthorized command"
	}
	log(event, "service", c.Service, "operation", c.Operation, "status", exit.Status, "took", took.Round(time.Millisecond))
}

// finish tells the client how its command ended. The order is what clients depend on: all
// output, the status, end of file, close.
func (s *session) finish(exit Exit) {
	// Each of these fails only when the client is gone, and then so do the following.
	if exit.Message != "" {
		_, _ = io.WriteString(s.channel.Stderr(), exit.Message+"\n")
	}
	if signal := signalled(""); errors.As(context.Cause(s.ctx), &signal) {
		payload := struct {
			Signal     string
			CoreDumped bool
			Message    string
			Language   string
		}{Signal: string(signal)}
		_, _ = s.channel.SendRequest("exit-signal", false, ssh.Marshal(payload))
	} else {
		_, _ = s.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{exit.Status}))
	}
	_ = s.channel.CloseWrite()
	_ = s.channel.Close()
}

// stringPayload reads a request's payload that is one string and nothing else.
func stringPayload(payload []byte) (string, bool) {
	var p struct{ Value string }
	err := ssh.Unmarshal(payload, &p)
	return p.Value, err == nil
}
