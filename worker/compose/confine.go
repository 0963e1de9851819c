package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"pgo/internal/lazyregexp"
	"pgo/worker/sandbox"
)

// resolveTime bounds one resolving, which takes a tenth of a second: some files can be read for
// ever. Endless computation reaches MaxCPU first.
var resolveTime = 2 * sandbox.MaxCPU

// firstExtra is the first file descriptor that a started program has beyond the usual three.
const firstExtra = 3

// maxWords bounds what is kept of compose's output while it resolves.
const maxWords = 64 << 10

// confined runs a compose command in a sandbox, because it reads what a repository wrote before
// any of it was checked: stage and the given files are all that it can read. An error that is the
// repository's own fault is an ErrNoModel.
func (p *Project) confined(ctx context.Context, cmd *exec.Cmd, out Output, stage string, given ...*os.File) error {
	ctx, cancel := context.WithTimeoutCause(ctx, resolveTime,
		fmt.Errorf("%w: docker compose did not read the compose file within %s", context.DeadlineExceeded, resolveTime))
	defer cancel()
	cmd.Env = p.readingEnvironment()
	read, outside := []string{stage, os.DevNull}, []string{}
	for i, file := range given {
		// The file that was opened, and not what may be at its path by now.
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
		read = append(read, fmt.Sprintf("/proc/self/fd/%d", firstExtra+i))
		outside = append(outside, file.Name())
	}
	sandbox.Confine(cmd, read...)
	words := &limited{max: maxWords}
	err := p.run(ctx, cmd, Output{Stdout: out.Stdout, Stderr: io.MultiWriter(words, writer{out.Stderr})}, "config", sandbox.MaxCPU)

	var exit *ExitError
	switch {
	case errors.As(err, &exit) && exit.Status == sandbox.NotEntered:
		return err
	case errors.As(err, &exit) && outOfTasks.Match(words.Bytes()):
		return errors.New("docker compose could not start a thread: this user has too many, including those in containers")
	case errors.As(err, &exit) && outOfMemory.Match(words.Bytes()):
		return &unresolved{text: fmt.Sprintf("docker compose needs more than %d MiB of memory for it", sandbox.MaxMemory>>20)}
	case errors.As(err, &exit) && exit.Status == spentCPU:
		return &unresolved{text: exit.Output}
	case errors.As(err, &exit):
		return &unresolved{text: explain(exit.Output, stage, outside, sandbox.Supported() > 0), words: words.String()}
	}
	return err
}

var (
	// outOfMemory matches the output of a Go program that runs out of memory.
	outOfMemory = lazyregexp.New(`(?m)^fatal error: .*(out of memory|cannot allocate memory)`)
	// outOfTasks matches the output of one that may not start more threads, which is not the
	// fault of whoever wrote the compose file.
	outOfTasks = lazyregexp.New(`(?m)failed to create new OS thread|newosproc|pthread_create failed`)
	// denied matches compose's complaint about a file that the sandbox keeps from it.
	denied = lazyregexp.New(`(?m)\bopen (.+): permission denied$`)
	line   = lazyregexp.New(`: line \d+`)
)

// explain says why compose could not resolve. It shows compose's own words only where they cannot
// hold the content of a file outside the repository.
func explain(words, stage string, outside []string, landlock bool) string {
	if found := denied.FindStringSubmatch(words); found != nil {
		path := found[1]
		if rel, ok := below(stage, path); ok {
			path = rel
		}
		return "env_file, label_file, include or extends leads outside the repository: " + path
	}
	if !landlock {
		return "run docker compose config by hand to see why (not shown here: this kernel has no Landlock, so its output may be the content of any file)"
	}
	for _, path := range outside {
		if strings.Contains(words, path) {
			return "docker compose cannot read " + path + line.FindString(words)
		}
	}
	return complaint(words)
}
