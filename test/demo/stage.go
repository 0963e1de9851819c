package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// step is a heading, a sentence and some command lines.
type step struct {
	title, about string
	lines        []line
}

// line is a command line for the shell, and what must come of it.
type line struct {
	run  string
	says string // part of its output
	ends int    // its exit status
	// until makes it wait for that, and says what the time it took is.
	until string
}

// patience is how long a command may take, and how long a step waits.
const patience = time.Minute

// stage is where the session plays.
type stage struct {
	env         []string
	bold, plain string // what switches bold letters on and off
}

func newStage(root string) *stage {
	s := &stage{env: append(os.Environ(),
		"PATH="+filepath.Join(root, "bin")+":"+os.Getenv("PATH"),
		"USER=root", "LC_ALL=C", "TZ=UTC",
		// Nobody's own settings play along.
		"http_proxy=", "SSH_AUTH_SOCK=", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org",
	)}
	if term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" {
		s.bold, s.plain = "\x1b[1m", "\x1b[m"
	}
	return s
}

func (s *stage) sayf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// play shows the steps, up to the first that goes wrong.
func (s *stage) play(ctx context.Context, steps []step) error {
	for i, step := range steps {
		s.sayf("\n%s%d. %s%s\n%s\n", s.bold, i+1, step.title, s.plain, step.about)
		before := time.Now()
		for _, line := range step.lines {
			s.sayf("%s$ %s%s", s.bold, line.run, s.plain)
			if err := s.carryOut(ctx, line, before); err != nil {
				return fmt.Errorf("step %d, %s: %w", i+1, step.title, err)
			}
			before = time.Now()
		}
	}
	return nil
}

// carryOut runs the line, again and again where it is to wait, and sees that
// the right thing comes of it.
func (s *stage) carryOut(ctx context.Context, l line, before time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("this took longer than %v", patience))
	defer cancel()
	if l.until == "" {
		output, err := s.shell(ctx, l.run, os.Stdout)
		return l.check(output, err)
	}
	for {
		output, err := s.shell(ctx, l.run, io.Discard)
		wrong := l.check(output, err)
		if wrong == nil {
			s.sayf("%s[%.1f s %s]", output, time.Since(before).Seconds(), l.until)
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w; at last: %w\n%s", context.Cause(ctx), wrong, output)
		}
	}
}

// shell runs a command line and returns what it printed, which is shown as it
// comes.
func (s *stage) shell(ctx context.Context, run string, show io.Writer) (string, error) {
	var printed bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", "-c", run)
	cmd.Dir, cmd.Env = dir, s.env
	cmd.Stdout = io.MultiWriter(&printed, show)
	cmd.Stderr = cmd.Stdout
	// A group of its own: a terminal's ^C comes to this process alone, which
	// ends the rest in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return printed.String(), err
}

// check tells what is wrong with how the line ended.
func (l line) check(printed string, err error) error {
	status := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		status = exit.ExitCode()
	} else if err != nil {
		return err
	}
	if status != l.ends {
		return fmt.Errorf("the last command ended with status %d, not %d", status, l.ends)
	}
	if !strings.Contains(printed, l.says) {
		return fmt.Errorf("the last command did not say %q", l.says)
	}
	return nil
}
