package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"pgo/worker/sandbox"
)

// resolveTime bounds one resolving, which takes a tenth of a second: there are
// files that can be read for ever. What computes for ever meets MaxCPU first.
var resolveTime = 2 * sandbox.MaxCPU

// maxWords is as much as is kept of what compose says while resolving.
const maxWords = 64 << 10

// confined runs a compose command that reads what a repository wrote, before
// any of it was checked, in a sandbox: stage and env are all that it can read.
// What is the repository's own fault is an ErrNoModel.
func (p *Project) confined(ctx context.Context, cmd *exec.Cmd, stdout io.Writer, stage, env string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, resolveTime,
		fmt.Errorf("%w: docker compose did not read the compose file within %s", context.DeadlineExceeded, resolveTime))
	defer cancel()
	cmd.Env = p.readingEnvironment()
	sandbox.Confine(cmd, stage, env)
	words := &limited{max: maxWords}
	err := p.run(ctx, cmd, Output{Stdout: stdout, Stderr: words}, "config", sandbox.MaxCPU)

	var exit *ExitError
	switch {
	case errors.As(err, &exit) && exit.Status == sandbox.NotEntered:
		return err
	case errors.As(err, &exit) && outOfTasks.Match(words.Bytes()):
		return errors.New("docker compose could not start a thread: this user has too many, those in containers included")
	case errors.As(err, &exit) && outOfMemory.Match(words.Bytes()):
		return &unresolved{fmt.Sprintf("docker compose needs more than %d MiB of memory for it", sandbox.MaxMemory>>20)}
	case errors.As(err, &exit) && exit.Status == spentCPU:
		return &unresolved{exit.Output}
	case errors.As(err, &exit):
		return &unresolved{explain(exit.Output, stage, env, sandbox.Supported() > 0)}
	}
	return err
}

var (
	// outOfMemory is how a Go program ends that gets no more.
	outOfMemory = regexp.MustCompile(`(?m)^fatal error: .*(out of memory|cannot allocate memory)`)
	// outOfTasks is how one ends that may start no more threads, which is nobody's fault
	// who wrote a compose file.
	outOfTasks = regexp.MustCompile(`(?m)failed to create new OS thread|newosproc|pthread_create failed`)
	// denied is what compose says of a file that the sandbox keeps from it.
	denied = regexp.MustCompile(`(?m)\bopen (.+): permission denied$`)
	line   = regexp.MustCompile(`: line \d+`)
)

// explain says why compose could not resolve. Its own words are shown only
// where they cannot hold what stands in a file outside the repository.
func explain(words, stage, env string, landlock bool) string {
	if found := denied.FindStringSubmatch(words); found != nil {
		path := found[1]
		if rel, ok := below(stage, path); ok {
			path = rel
		}
		return "env_file, label_file, include or extends leads outside the repository: " + path
	}
	if !landlock {
		return "run docker compose config by hand to see why (not shown here: this kernel has no Landlock, so that its words may be any file's)"
	}
	if _, own := below(stage, env); !own && env != os.DevNull && strings.Contains(words, env) {
		return "docker compose cannot read " + env + line.FindString(words)
	}
	return complaint(words)
}
