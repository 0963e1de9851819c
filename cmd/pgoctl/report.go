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

// console is where a run, or one host's part in it, shows what there is to be seen.
type console struct {
	stdout, stderr io.Writer
	quiet          bool
	red            bool // what went wrong is shown in red
}

// sayf prints a line to stderr. When that fails there is nobody left to tell.
func (c *console) sayf(format string, args ...any) {
	fmt.Fprintf(c.stderr, format+"\n", args...)
}

// complainf prints what went wrong.
func (c *console) complainf(format string, args ...any) {
	if c.red {
		format = "\x1b[31m" + format + "\x1b[0m"
	}
	c.sayf(format, args...)
}

// isTerminal reports whether something that is read or written is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// showsColors reports whether somebody sees colours there, and wants to.
func showsColors(stream any, env func(string) string) bool {
	return isTerminal(stream) && env("NO_COLOR") == "" && env("TERM") != "dumb"
}

// statusError is what the host says of a command that did not go well.
type statusError struct {
	status  int
	signal  string // not empty: this is what ended the command
	message []byte // from stderr, not shown yet
}

func (e *statusError) Error() string {
	if e.signal != "" {
		return "Process exited with signal " + printable.Line(e.signal)
	}
	return fmt.Sprintf("Process exited with status %d", e.status)
}

// exitCode is pgoctl's: for a signal what a shell has.
func (e *statusError) exitCode() int {
	if e.signal != "" {
		return 128 + int(unix.SignalNum("SIG"+e.signal))
	}
	return target.ExitCode(e.status)
}

// outputError is why a run ends: what a host prints cannot be shown.
type outputError struct{ error }

func (e *outputError) Unwrap() error { return e.error }

// report says what went wrong, if anything did, and returns the exit code for it.
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
		return interrupted(syscall.SIGPIPE).exitCode() // as head has it: somebody has seen enough
	case errors.As(err, &usage):
		c.complainf("pgoctl: %v", err)
		return target.ExitCode(target.StatusUsage)
	default:
		c.complainf("pgoctl: %v", err)
		return target.ExitNoConnection
	}
}
