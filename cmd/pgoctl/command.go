package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"pgo/internal/target"
	"pgo/internal/version"
)

// client is one run of pgoctl.
type client struct {
	env            func(string) string
	stdout, stderr io.Writer

	identities  []string
	login       string
	port        uint16
	knownHosts  string
	acceptNew   bool
	fingerprint string
	timeout     time.Duration
	quiet       bool
}

// statusError is what the host says of a command that did not go well.
type statusError struct {
	status  int
	signal  string // not empty: this is what ended the command, and status is 128 and its number
	message []byte // from stderr, not shown yet
}

func (e *statusError) Error() string {
	if e.signal != "" {
		return "Process exited with signal " + e.signal
	}
	return fmt.Sprintf("Process exited with status %d", e.status)
}

// interrupted is why a context ends: somebody wants pgoctl to stop.
type interrupted syscall.Signal

func (i interrupted) Error() string { return syscall.Signal(i).String() }

// run is pgoctl. It returns the exit code, an interface that scripts rely on.
func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	c := &client{env: env, stdout: stdout, stderr: stderr}
	command := c.command()
	command.SetArgs(args)
	command.SetOut(stdout)
	command.SetErr(stderr)
	return c.report(command.ExecuteContext(ctx))
}

// report says what went wrong, if anything did, and returns the exit code for it.
func (c *client) report(err error) int {
	var status *statusError
	var usage *target.UsageError
	var signal interrupted
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		_, _ = c.stderr.Write(status.message)
		if !c.quiet {
			c.sayf("[ERROR] %v", status)
		}
		if status.signal != "" {
			return status.status
		}
		return target.ExitCode(status.status)
	case errors.As(err, &signal):
		return 128 + int(signal) // as a shell has it
	case errors.As(err, &usage):
		c.sayf("pgoctl: %v", err)
		return target.ExitCode(target.StatusUsage)
	default:
		c.sayf("pgoctl: %v", err)
		return target.ExitNoConnection
	}
}

// sayf prints a line to stderr. When that fails there is nobody left to tell.
func (c *client) sayf(format string, args ...any) {
	fmt.Fprintf(c.stderr, format+"\n", args...)
}

func (c *client) command() *cobra.Command {
	command := &cobra.Command{
		Use:               "pgoctl [flags] [--] host:service//operation [args…]",
		Short:             "Control services that pgod runs",
		Long:              "pgoctl carries out an operation on a service that pgod runs on a host.\n\n" + operations(),
		Example:           "  pgoctl localhost:pgo//ps\n  pgoctl -i ~/.ssh/id_pgo www.example.org:pgo//logs -f --tail 10 web",
		Version:           version.String(),
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: complete,
		SilenceErrors:     true,
		SilenceUsage:      true,
		RunE: func(command *cobra.Command, words []string) error {
			t, err := c.check(words)
			if err != nil {
				return err
			}
			return c.do(command.Context(), t)
		},
	}
	command.SetVersionTemplate("pgoctl {{.Version}}\n")
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return target.Usagef("%v; pgoctl --help lists the flags, and an operation's own come after it", err)
	})
	flags := command.Flags()
	flags.SetInterspersed(false) // what follows the target is the operation's
	flags.SortFlags = false
	flags.StringArrayVarP(&c.identities, "identity", "i", nil, "private key `FILE`; may be repeated (default: PGOCTL_ID, the SSH agent's, ~/.ssh/id_*)")
	flags.StringVarP(&c.login, "login", "l", c.localUser(), "login `NAME`, which is only shown and logged")
	flags.Uint16VarP(&c.port, "port", "p", 2222, "`PORT` that pgod listens on")
	flags.StringVar(&c.knownHosts, "known-hosts", "", "`FILE` with the keys of known hosts (default: ~/.config/pgo/known_hosts and ~/.ssh/known_hosts)")
	flags.BoolVar(&c.acceptNew, "accept-new", false, "remember the key of a host that is not known yet")
	flags.StringVar(&c.fingerprint, "fingerprint", "", "accept the host key with this `DIGEST`, written SHA256:…, and no other")
	flags.DurationVar(&c.timeout, "timeout", 30*time.Second, "longest `TIME` to connect and log in")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "print nothing but what the host prints, and errors")
	flags.BoolP("version", "v", false, "print the version")
	return command
}

// check reads what was typed, as far as that goes without a connection.
func (c *client) check(words []string) (target.Target, error) {
	if c.timeout <= 0 {
		return target.Target{}, target.Usagef("--timeout %v is no time to wait; write for example 30s", c.timeout)
	}
	if digest, ok := strings.CutPrefix(c.fingerprint, "SHA256:"); c.fingerprint != "" {
		if sum, err := base64.RawStdEncoding.DecodeString(digest); !ok || err != nil || len(sum) != 32 {
			return target.Target{}, target.Usagef("--fingerprint is SHA256: and 43 characters, as ssh-keygen -l prints it")
		}
	}
	return target.ParseTarget(words)
}

func (c *client) localUser() string {
	if name := c.env("USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// operations lists what there is, for people.
func operations() string {
	var text strings.Builder
	text.WriteString("Operations, written host:service//operation (host://operation for those on the host):\n")
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, o := range target.Operations() {
		name, summary := o.Name, o.Summary
		if o.Scope == target.Host {
			name = "//" + name
		}
		if o.OperatorOnly {
			summary += " (operators)"
		}
		fmt.Fprintf(table, "  %s\t%s\n", name, summary)
	}
	_ = table.Flush() // into memory, which cannot fail
	return strings.TrimSuffix(text.String(), "\n")
}

// complete offers operations and their flags to a shell.
func complete(_ *cobra.Command, words []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const nothingElse = cobra.ShellCompDirectiveNoFileComp
	if len(words) > 0 {
		t, err := target.ParseTarget(words)
		if err != nil {
			return nil, nothingElse
		}
		var flags []cobra.Completion
		o, _ := target.Lookup(t.Scope(), t.Operation)
		for _, f := range o.Flags {
			flags = append(flags, f.Long)
		}
		return flags, nothingElse
	}
	place, _, ok := strings.Cut(typed, "//")
	if !ok {
		return nil, nothingElse | cobra.ShellCompDirectiveNoSpace
	}
	scope := target.Service
	if strings.HasSuffix(place, ":") {
		scope = target.Host
	}
	var names []cobra.Completion
	for _, o := range target.Operations() {
		if o.Scope == scope {
			names = append(names, cobra.CompletionWithDesc(place+"//"+o.Name, o.Summary))
		}
	}
	return names, nothingElse
}
