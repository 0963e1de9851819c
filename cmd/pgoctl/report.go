package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"pgo/internal/printable"
	"pgo/internal/target"
)

// console is where a run, or one host's part in it, shows its output.
type console struct {
	stdout, stderr io.Writer
	quiet          bool
	red            bool // errors are shown in red
}

// sayf prints a line to stderr. If that fails, nobody is left to tell.
func (c *console) sayf(format string, args ...any) {
	fmt.Fprintf(c.stderr, format+"\n", args...)
}

// complainf prints an error.
func (c *console) complainf(format string, args ...any) {
	if c.red {
		format = "\x1b[31m" + format + "\x1b[0m"
	}
	c.sayf(format, args...)
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// showsColors reports whether somebody sees colours there, and wants them.
func showsColors(stream any, env func(string) string) bool {
	return isTerminal(stream) && env("NO_COLOR") == "" && env("TERM") != "dumb"
}

// statusError is what the host says about a command that failed.
type statusError struct {
	status  int
	signal  string // not empty: it ended the command
	message []byte // from stderr, not shown yet
}

func (e *statusError) Error() string {
	if e.signal != "" {
		return "Process exited with signal " + printable.Line(e.signal)
	}
	return fmt.Sprintf("Process exited with status %d", e.status)
}

// exitCode returns pgoctl's exit code: for a signal, what a shell has.
func (e *statusError) exitCode() int {
	if e.signal != "" {
		return 128 + int(unix.SignalNum("SIG"+e.signal))
	}
	return target.ExitCode(e.status)
}

// outputError is why a run ends: the output of a host cannot be shown.
type outputError struct{ error }

func (e *outputError) Unwrap() error { return e.error }

// report prints an error, if there is one, and returns the exit code for it.
func (c *console) report(err error) int {
	var status *statusError
	var usage *target.UsageError
	var signal interrupted
	var several *severalError
	switch output := new(outputError); {
	case err == nil:
		return 0
	case errors.As(err, &several):
		return several.exitCode
	case errors.As(err, &status):
		_, _ = c.stderr.Write(status.message)
		if !c.quiet {
			c.complainf("[ERROR] %v", status)
		}
		return status.exitCode()
	case errors.As(err, &signal):
		return signal.exitCode()
	case errors.As(err, &output) && errors.Is(err, syscall.EPIPE):
		return interrupted(syscall.SIGPIPE).exitCode() // as after `| head`: somebody has seen enough
	case errors.As(err, &usage):
		c.complainf("pgoctl: %v", err)
		return target.ExitCode(target.StatusUsage)
	default:
		c.complainf("pgoctl: %v", err)
		return target.ExitNoConnection
	}
}
