// Package compose runs docker compose for one service: it resolves the model, pulls, builds,
// brings containers up and down, and passes other commands through.
//
// The plugin's binary is run directly, without the docker command: the plugin is docker compose,
// and the kernel ends it with this process because it is this process's own child. As a child of
// docker it would be a grandchild that survives alone. It also saves about 50 ms a call.
//
// The package asks the engine for what compose cannot report, and nothing else asks the engine.
// It must not know git, the policy, or when a deploy is good.
package compose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pgo/internal/procgroup"
)

// stopGrace is how long a cancelled compose may take to end by itself.
const stopGrace = 3 * time.Second

// pluginDirs are the system-wide plugin directories of the docker command, in its order. Those
// below a home directory are left out: their content is not the administrator's.
var pluginDirs = []string{
	"/usr/local/lib/docker/cli-plugins",
	"/usr/local/libexec/docker/cli-plugins",
	"/usr/lib/docker/cli-plugins",
	"/usr/libexec/docker/cli-plugins",
}

// FindPlugin returns the path of the compose plugin.
func FindPlugin() (string, error) {
	path := findPlugin("docker-compose")
	if path == "" {
		return "", fmt.Errorf("cannot find docker compose: install the plugin docker-compose (%s or newer) in one of %s", minCompose, strings.Join(pluginDirs, ", "))
	}
	return path, nil
}

// findPlugin returns the path of a plugin; "": it is not there.
func findPlugin(name string) string {
	for _, dir := range pluginDirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// Project is one service's compose project. Its fields are set once, then
// immutable.
type Project struct {
	Plugin   string   // path of the plugin's binary; empty: where FindPlugin finds it
	Name     string   // project name: the service's name
	Home     string   // HOME and DOCKER_CONFIG: outside of everything that a repository writes
	Checkout string   // what the containers mount
	Profiles []string // the configured ones; a repository cannot change them
	Env      []string // the service's env, VAR=VALUE
	Marker   string   // VAR=VALUE in the environment of every process started here
	Host     string   // the engine's address; empty: the usual one
	Proxies  Proxies  // for builds
	CA       []byte   // certificates in PEM of authorities that count in builds besides the system's

	Extensions bool   // whether compose services may have settings of pgo's own
	Remembered string // the file with what was found of Docker; empty: it is found out each time

	// Tracked reports whether a commit may have brought a path to the checkout; nil: none has.
	Tracked func(name string) bool
	// Granted opens a file of the host that an operator lets compose read, or returns the entry
	// of the configuration that would let it; nil: there is none.
	Granted func(path string) (file *os.File, entry string)
}

// Output is where a command's output goes while it is produced. An error of a
// writer does not end the command.
type Output struct {
	Stdout, Stderr io.Writer
	Color          bool // whoever reads it sees colours
}

// ExitError is the error of a compose that ended with a status of its own, or of what is done in its
// place.
type ExitError struct {
	Command string // up, pull, …; empty: the output says it
	Status  int    // 1 to 255
	Output  string // its last words, for whoever did not see them go by
	Spent   bool   // it needed more memory or CPU time than it may use, which is up to the model
}

func (e *ExitError) Error() string {
	if e.Command == "" {
		return strings.Join(strings.Fields(e.Output), " ")
	}
	text := fmt.Sprintf("docker compose %s ended with status %d", e.Command, e.Status)
	if last := e.last(); last != "" {
		text += ": " + last
	}
	return text
}

// last returns the error itself, in one line. Progress and warnings come before it. What the
// engine says may have several lines.
func (e *ExitError) last() string {
	last := e.Output[strings.LastIndexByte(e.Output, '\n')+1:]
	if at := strings.LastIndex(e.Output, daemonSays); at >= 0 {
		last = e.Output[at:]
	}
	return strings.Join(strings.Fields(last), " ")
}

// daemonSays begins what the engine says when compose passes it on.
const daemonSays = "Error response from daemon"

// KilledError is the error of a compose that somebody else has ended by a signal.
type KilledError struct {
	Command string
	err     *exec.ExitError
}

func (e *KilledError) Error() string { return fmt.Sprintf("docker compose %s: %v", e.Command, e.err) }
func (e *KilledError) Unwrap() error { return e.err }

// Signal returns the signal that ended it: KILL, TERM, …
func (e *KilledError) Signal() string {
	how, _ := e.err.Sys().(syscall.WaitStatus)
	return strings.TrimPrefix(unix.SignalName(how.Signal()), "SIG")
}

// Run runs a compose command on a model file, in the directory that the model's paths are about.
// Without a model, compose acts on what it finds by the project's name. A status other than 0 is
// an ExitError. When ctx ends, compose is asked to end, then killed, and the error is ctx's
// cause.
func (p *Project) Run(ctx context.Context, model, dir string, out Output, args ...string) error {
	// A model is resolved already: an environment file could add nothing.
	global := []string{"--env-file", os.DevNull}
	if model != "" {
		global = append(global, "-f", model)
	}
	cmd, err := p.command(dir, out.Color, append(global, args...))
	if err != nil {
		return err
	}
	switch args[0] {
	case "build":
		cmd.Env = p.buildEnvironment()
		defer p.forgetBuilds()
	case "pull":
		cmd.Env = append(cmd.Env, "DOCKER_CONFIG="+p.Home)
	}
	if model != "" && creates(args[0]) {
		values, err := valuesIn(model)
		if err != nil {
			return err
		}
		cmd.Env = append(cmd.Env, values...)
	}
	// Where they are not to be removed, they are there for a reason. (Compose refuses both.)
	cmd.Env = append(cmd.Env, fmt.Sprintf("COMPOSE_IGNORE_ORPHANS=%t", !slices.Contains(args, "--remove-orphans")))
	cpu := maxCPU
	if follows(args) {
		cpu = 0
	}
	return p.run(ctx, cmd, out, args[0], cpu)
}

// creates reports whether a compose command needs the values of secrets and configs.
func creates(command string) bool { return command == "up" || command == "build" }

// command returns the command that runs compose with args, in dir.
func (p *Project) command(dir string, color bool, args []string) (*exec.Cmd, error) {
	plugin := p.Plugin
	if plugin == "" {
		var err error
		if plugin, err = FindPlugin(); err != nil {
			return nil, err
		}
	}
	look := []string{"--ansi", "never", "--progress", "plain"}
	if color {
		look = []string{"--ansi", "always"}
	}
	args = slices.Concat(look, []string{"-p", p.Name, "--project-directory", dir}, args)
	cmd := exec.Command(plugin, args...)
	cmd.Dir = dir
	cmd.Env = p.environment()
	return cmd, nil
}

// run runs compose, which may use that much CPU time; 0: any.
func (p *Project) run(ctx context.Context, cmd *exec.Cmd, out Output, name string, cpu time.Duration) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	last := NewTail(2000)
	cmd.Stdout = writer{out.Stdout}
	memory := &memoryWatch{}
	stderr := &hush{w: io.MultiWriter(last, memory, writer{out.Stderr})}
	cmd.Stderr = stderr
	group, err := procgroup.Start(cmd)
	if err != nil {
		return fmt.Errorf("cannot start docker compose: %w", err)
	}
	if err := limit(group.Pid(), cpu); err != nil {
		group.Stop(0)
		return err
	}
	select {
	case <-group.Done():
	case <-ctx.Done():
		group.Stop(stopGrace)
		stderr.flush()
		return context.Cause(ctx)
	}
	stderr.flush()
	var exit *exec.ExitError
	switch err := group.Wait(); {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		output := p.Redact(last.String())
		if memory.out {
			output = fmt.Sprintf("docker compose needs more than %d MiB of memory for it", maxMemory>>20)
		}
		return &ExitError{Command: name, Status: exit.ExitCode(), Output: output, Spent: memory.out}
	case exit != nil && outOfCPU(exit.ProcessState, cpu) != "":
		return &ExitError{Command: name, Status: spentCPU, Output: outOfCPU(exit.ProcessState, cpu), Spent: true}
	case exit != nil:
		return &KilledError{Command: name, err: exit}
	default:
		return fmt.Errorf("docker compose %s: %w", name, err)
	}
}

// ShortSecret is the length below which a value is too short to be a secret: it would be found in
// many a word.
const ShortSecret = 8

// Redact takes the values of the service's env, and the proxies' passwords, out of text that goes
// into errors, and with them into logs.
func (p *Project) Redact(text string) string {
	for _, variable := range p.Env {
		if _, value, _ := strings.Cut(variable, "="); len(value) >= ShortSecret {
			text = strings.ReplaceAll(text, value, "***")
		}
	}
	for _, password := range p.Proxies.passwords() {
		text = strings.ReplaceAll(text, password, "***")
	}
	return text
}

// writer discards what is written to a nil writer, and hides an error of a client's stream, which
// is not a reason to interrupt compose.
type writer struct{ w io.Writer }

func (w writer) Write(b []byte) (int, error) {
	if w.w != nil {
		_, _ = w.w.Write(b)
	}
	return len(b), nil
}

// Tail keeps the end of what is written to it.
type Tail struct {
	max int
	buf []byte
}

// NewTail returns a Tail of the last max bytes.
func NewTail(max int) *Tail { return &Tail{max: max} }

func (t *Tail) Write(b []byte) (int, error) {
	t.buf = append(t.buf, b...)
	if len(t.buf) > 2*t.max {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-t.max:]...)
	}
	return len(b), nil
}

// String returns the last lines; if some were cut, whole lines only.
func (t *Tail) String() string {
	b := t.buf
	if len(b) > t.max {
		b = b[len(b)-t.max:]
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			b = b[i+1:]
		}
	}
	return strings.TrimSpace(string(b))
}
