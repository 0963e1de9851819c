package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"pgo/internal/target"
)

const noShell = "pgo has no shell: write service//operation after the host, for example ssh -p 2222 host -- pgo//ps"

// colorVariable is the environment variable with which a client that has no terminal here asks
// for colours.
const colorVariable = "PGO_COLOR"

// session is one channel, which carries at most one command.
type session struct {
	*connection
	channel  ssh.Channel
	ctx      context.Context // the command's
	cancel   context.CancelCauseFunc
	started  bool
	terminal *Terminal // nil: the client has not asked for one
	color    bool
	running  sync.WaitGroup // the command, and what reads the client's input

	mu      sync.Mutex  // guards signals
	signals chan string // nil: a signal ends the command
}

// signalled is why a command's context ended: the client sent it a signal.
type signalled string

func (s signalled) Error() string { return "the client sent SIG" + string(s) }

// session serves a channel until the client closes it.
func (c *connection) session(ctx context.Context, channel ssh.Channel, requests <-chan *ssh.Request) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &session{connection: c, channel: channel, ctx: ctx, cancel: cancel}
	s.running.Go(func() { _, _ = io.Copy(io.Discard, channel.Stderr()) })
	for r := range requests {
		c.paced()
		s.answer(r)
	}
	cancel(nil) // the client has closed the channel, or is gone
	s.running.Wait()
}

// answer replies to one request. All others (subsystems, forwarding of agents and displays) are
// refused, and so is a second command.
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
			s.ignoreInput()
			command = func() Exit { return Exit{Status: target.StatusUsage, Message: noShell} }
		}
	case "pty-req":
		if !s.started && s.terminal == nil {
			s.terminal, ok = parseTerminal(r.Payload)
		}
	case "window-change":
		var w Window
		if w, ok = parseWindow(r.Payload); ok && s.terminal != nil {
			s.terminal.resize(w)
		}
	case "env":
		ok = !s.started && s.variable(r.Payload)
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

// variable accepts the only environment variable that pgod knows.
func (s *session) variable(payload []byte) bool {
	var p struct{ Name, Value string }
	if ssh.Unmarshal(payload, &p) != nil || p.Name != colorVariable {
		return false
	}
	s.color = p.Value != "" && p.Value != "never"
	return true
}

// carryOut runs the command and reports how it ended.
func (s *session) carryOut(do func() Exit) {
	defer s.idle.end()
	if !s.server.addCommand() {
		s.finish(Exit{Status: target.StatusUnavailable, Message: "pgod is stopping; try again when it is back"})
		return
	}
	// Not before the client has been told: Shutdown waits for this.
	defer s.server.commands.Done()
	s.finish(do())
}

// signalNames are those of RFC 4254 section 6.10.
var signalNames = []string{"ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2"}

// IsSignal reports whether SSH has a signal of that name.
func IsSignal(name string) bool { return slices.Contains(signalNames, name) }

// signal passes a signal on to a command that takes input. Any other command is ended by a signal
// that asks for an end, and does not get the rest.
func (s *session) signal(name string) bool {
	s.mu.Lock()
	signals := s.signals
	s.mu.Unlock()
	if signals != nil {
		if !IsSignal(name) {
			return false
		}
		select {
		case signals <- name:
			return true
		default: // it has not taken earlier ones yet
			return false
		}
	}
	if name != string(ssh.SIGINT) && name != string(ssh.SIGTERM) && name != string(ssh.SIGHUP) {
		return false
	}
	s.cancel(signalled(name))
	return true
}

// ignoreInput reads what the client sends to a command that does not read it: the client must not
// block on that. The end of the input means nothing: a stock client without a terminal may have
// none.
func (s *session) ignoreInput() {
	s.running.Go(func() {
		discard(s.channel, func() {
			if s.terminal != nil {
				s.cancel(signalled(ssh.SIGINT))
			}
		})
	})
}

// run carries out one command line.
func (s *session) run(line string) (exit Exit) {
	begun := time.Now()
	var asked target.Command
	defer func() {
		if fault := recover(); fault != nil {
			s.server.logFault("a session", fault)
			exit = Exit{Status: target.StatusFault, Message: "pgod has a fault; its log says more"}
		}
		s.logExit(asked, exit, time.Since(begun))
	}()
	asked, err := s.parse(line)
	if err != nil {
		s.ignoreInput()
		return Exit{Status: target.StatusUsage, Message: err.Error()}
	}
	return s.server.backend.Run(s.ctx, s.command(asked))
}

func (s *session) parse(line string) (target.Command, error) {
	if len(line) > s.server.limits.Line {
		return target.Command{}, fmt.Errorf("the command is longer than %d KiB", s.server.limits.Line>>10)
	}
	return target.ParseCommand(line)
}

// command returns the command with the client's streams that it uses.
func (s *session) command(asked target.Command) Command {
	command := Command{
		Command:  asked,
		Identity: s.identity,
		Stdout:   s.channel,
		Stderr:   s.channel.Stderr(),
		Terminal: s.terminal,
		Color:    s.color || s.terminal != nil,
	}
	operation, _ := target.Lookup(asked.Scope(), asked.Operation)
	if !operation.Input {
		s.ignoreInput()
		return command.WithoutTerminal()
	}
	signals := make(chan string, 8)
	s.mu.Lock()
	s.signals = signals
	s.mu.Unlock()
	command.Signals, command.Stdin = signals, input{s.channel}
	return command
}

// input is what the client sends to its command.
type input struct{ ssh.Channel }

// errLost is the end of an input when the client is gone.
var errLost = errors.New("the client is gone")

// Read returns io.EOF only at the end of the input. The library also does when the client is
// lost, and half a file would look complete to the command. So Read asks the client whether it is
// still there.
func (i input) Read(b []byte) (int, error) {
	n, err := i.Channel.Read(b)
	if errors.Is(err, io.EOF) {
		if _, gone := i.SendRequest("keepalive@openssh.com", true, nil); gone != nil {
			err = errLost
		}
	}
	return n, err
}

// WithoutTerminal returns the command for a program that uses no terminal, whether or not the
// client has one.
func (c Command) WithoutTerminal() Command {
	if c.Terminal != nil {
		c.Stdout, c.Stderr, c.Terminal = &lines{out: c.Stdout}, &lines{out: c.Stderr}, nil
	}
	return c
}

func (s *session) logExit(c target.Command, exit Exit, took time.Duration) {
	log, event := s.log.Info, "command ended"
	if exit.Status == target.StatusUnauthorized {
		log, event = s.log.Warn, "unauthorized command"
	}
	log(event, "service", c.Service, "operation", c.Operation, "status", exit.Status, "took", took.Round(time.Millisecond))
}

// finish tells the client how its command ended. Clients depend on the order: all output, the
// status, end of file, close.
func (s *session) finish(exit Exit) {
	// Each of these fails only if the client is gone, and then so do the rest.
	if exit.Message != "" {
		var out io.Writer = s.channel.Stderr()
		if s.terminal != nil {
			out = &lines{out: out}
		}
		_, _ = io.WriteString(out, exit.Message+"\n")
	}
	if signal := signalled(""); errors.As(context.Cause(s.ctx), &signal) {
		exit.Signal = string(signal)
	}
	if exit.Signal != "" {
		payload := struct {
			Signal     string
			CoreDumped bool
			Message    string
			Language   string
		}{Signal: exit.Signal}
		_, _ = s.channel.SendRequest("exit-signal", false, ssh.Marshal(payload))
	} else {
		_, _ = s.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{exit.Status}))
	}
	_ = s.channel.CloseWrite()
	_ = s.channel.Close()
}

// stringPayload reads the payload of a request if it is exactly one string.
func stringPayload(payload []byte) (string, bool) {
	var p struct{ Value string }
	err := ssh.Unmarshal(payload, &p)
	return p.Value, err == nil
}
