package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
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

// line is a command line for the shell, and what it must do.
type line struct {
	run  string
	says string // part of what it prints
	ends int    // its exit status

	// until makes the line run repeatedly until it does that, and says what the time since the
	// line before it is.
	until string
}

// patience is how long a line may take.
const patience = time.Minute

// play shows the steps, up to the first line that does not do what it should.
func play(ctx context.Context, sh shell, steps []step) error {
	for i, step := range steps {
		fmt.Printf("\n%s\n%s\n\n", styled(bold, fmt.Sprintf("%d. %s", i+1, step.title)), step.about)
		before := time.Now()
		for _, line := range step.lines {
			fmt.Println(styled(cyan, "$ "+line.run))
			if err := line.carryOut(ctx, sh, before); err != nil {
				return fmt.Errorf("step %d, %s: %w", i+1, step.title, err)
			}
			before = time.Now()
		}
	}
	return nil
}

func (l line) carryOut(ctx context.Context, sh shell, before time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("this took longer than %v", patience))
	defer cancel()
	if l.until != "" {
		return l.wait(ctx, sh, before)
	}
	printed, err := sh.run(ctx, l.run, os.Stdout)
	if l.ends != 0 {
		fmt.Println(styled(green, fmt.Sprintf("[exit status %d]", status(err))))
	}
	return l.check(printed, err)
}

// wait shows only what the line prints the last time.
func (l line) wait(ctx context.Context, sh shell, before time.Time) error {
	for {
		printed, err := sh.run(ctx, l.run, io.Discard)
		wrong := l.check(printed, err)
		if wrong == nil {
			fmt.Print(printed)
			fmt.Println(styled(green, fmt.Sprintf("[%.1f s %s]", time.Since(before).Seconds(), l.until)))
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w; the last time, %w:\n%s", context.Cause(ctx), wrong, printed)
		}
	}
}

// check returns what is wrong with how the line ended.
func (l line) check(printed string, err error) error {
	switch {
	case err != nil && status(err) < 0:
		return err
	case status(err) != l.ends:
		return fmt.Errorf("the command ended with status %d, not %d", status(err), l.ends)
	case !strings.Contains(printed, l.says):
		return fmt.Errorf("the command did not print %q", l.says)
	}
	return nil
}

// status returns the shell's exit status, -1 if it did not end by itself.
func status(err error) int {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// How a terminal shows what the demo itself says.
const bold, green, cyan = "1", "32", "36"

var plain = os.Getenv("NO_COLOR") != "" || !term.IsTerminal(int(os.Stdout.Fd()))

func styled(style, text string) string {
	if plain {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[m"
}

// shell runs command lines; it is the environment that they have.
type shell []string

func newShell(root string) shell {
	return append(os.Environ(),
		"PATH="+root+"/bin:"+os.Getenv("PATH"),
		"USER=root",
		// No user's own settings apply.
		"LC_ALL=C", "http_proxy=", "SSH_AUTH_SOCK=",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org",
	)
}

// ownGroup keeps a terminal's ^C away from a command: it comes to this process
// alone, which ends the rest in order.
var ownGroup = &syscall.SysProcAttr{Setpgid: true}

// run runs a command line, shows what it prints as it comes, and returns it.
func (sh shell) run(ctx context.Context, line string, show io.Writer) (printed string, err error) {
	var buffer bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir, cmd.Env = dir, sh
	cmd.Stdout = io.MultiWriter(&buffer, show)
	cmd.Stderr = cmd.Stdout
	cmd.SysProcAttr = ownGroup
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return buffer.String(), err
}
