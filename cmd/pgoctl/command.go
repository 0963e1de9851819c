package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"pgo/internal/target"
	"pgo/internal/version"
)

// client is one run of pgoctl.
type client struct {
	console
	env   func(string) string
	own   streams
	flags flags
	hosts *hostsFile

	stop     context.CancelCauseFunc // ends the run
	progress progress
	signals  signals
	raw      rawMode
	keys     keyring
	logins   chan struct{} // as many as happen now

	remembering sync.Mutex // a new host, in a file
}

// streams are what pgoctl itself reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// flags are pgoctl's own.
type flags struct {
	identities  []string
	login       string
	port        uint16
	knownHosts  string
	acceptNew   bool
	fingerprint string
	timeout     time.Duration
	tty, noTTY  bool
	json        bool
}

// run is pgoctl. It returns the exit code, an interface that scripts rely on.
func run(received <-chan os.Signal, args []string, env func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := context.WithCancelCause(context.Background())
	c := &client{
		env:    env,
		own:    streams{stdin, stdout, stderr},
		stop:   stop,
		logins: make(chan struct{}, maxLogins),
	}
	c.console = console{
		stdout: c.progress.before(stdout),
		stderr: c.progress.before(stderr),
		red:    showsColors(stderr, env),
	}
	defer c.progress.stop()
	c.signals.stop, c.signals.die = stop, c.die
	defer c.raw.leave()
	go c.signals.serve(received)
	command := c.command()
	command.SetArgs(args)
	command.SetOut(stdout)
	command.SetErr(stderr)
	return c.report(command.ExecuteContext(ctx))
}

// die ends pgoctl at once.
func (c *client) die(code int) {
	c.progress.stop()
	c.raw.leave()
	os.Exit(code)
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
			t, err := c.check(command, words)
			if err != nil {
				return err
			}
			if file, ok := c.own.err.(*os.File); ok && isTerminal(file) && !c.quiet {
				c.progress.out = file
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
	flags.StringArrayVarP(&c.flags.identities, "identity", "i", nil, "private key `FILE`; may be repeated (default: PGOCTL_ID, the SSH agent's, ~/.ssh/id_*)")
	flags.StringVarP(&c.flags.login, "login", "l", "", "login `NAME`, which is only shown and logged (default: the local user)")
	flags.Uint16VarP(&c.flags.port, "port", "p", 0, "`PORT` that pgod listens on (default: 2222)")
	flags.StringVar(&c.flags.knownHosts, "known-hosts", "", "`FILE` with the keys of known hosts (default: ~/.config/pgo/known_hosts and ~/.ssh/known_hosts)")
	flags.BoolVar(&c.flags.acceptNew, "accept-new", false, "remember the key of a host that is not known yet")
	flags.StringVar(&c.flags.fingerprint, "fingerprint", "", "accept the host key with this `DIGEST`, written SHA256:…, and no other")
	flags.DurationVar(&c.flags.timeout, "timeout", 30*time.Second, "longest `TIME` to connect and log in")
	flags.BoolVarP(&c.flags.tty, "tty", "t", false, "give the command a terminal on the host, wherever its input comes from")
	flags.BoolVarP(&c.flags.noTTY, "no-tty", "T", false, "give it none, also if pgoctl is used from one")
	flags.BoolVar(&c.flags.json, "json", false, "have the operation print JSON")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "print nothing but what the host prints, and errors")
	flags.BoolP("version", "v", false, "print the version")
	return command
}

// check reads what was typed, as far as that goes without a connection.
func (c *client) check(command *cobra.Command, words []string) (target.Target, error) {
	if c.flags.timeout <= 0 {
		return target.Target{}, target.Usagef("--timeout %v is no time to wait; write for example 30s", c.flags.timeout)
	}
	if c.flags.port == 0 && command.Flags().Changed("port") {
		return target.Target{}, target.Usagef("--port 0 is no port: a number from 1 to 65535")
	}
	if c.flags.fingerprint != "" {
		if err := checkFingerprint(c.flags.fingerprint); err != nil {
			return target.Target{}, target.Usagef("--fingerprint: %v", err)
		}
	}
	if c.flags.tty && c.flags.noTTY {
		return target.Target{}, target.Usagef("--tty and --no-tty exclude each other")
	}
	t, err := target.ParseTarget(words)
	if err != nil {
		return target.Target{}, err
	}
	o, _ := target.Lookup(t.Scope(), t.Operation)
	if c.flags.tty && !o.Input {
		return target.Target{}, target.Usagef("%s uses no terminal: --tty is for operations that take input: %s", typedName(o), named(func(o target.Operation) bool { return o.Input }))
	}
	if c.flags.json {
		t.Args, err = withJSON(o, t.Args)
	}
	return t, err
}

func checkFingerprint(s string) error {
	digest, ok := strings.CutPrefix(s, "SHA256:")
	if sum, err := base64.RawStdEncoding.DecodeString(digest); !ok || err != nil || len(sum) != 32 {
		return errors.New("a fingerprint is SHA256: and 43 characters, as ssh-keygen -l prints it")
	}
	return nil
}

// withJSON adds the arguments with which the operation prints JSON.
func withJSON(o target.Operation, args []string) ([]string, error) {
	if o.JSON == nil {
		return nil, target.Usagef("%s prints no JSON: --json is for %s", typedName(o), named(func(o target.Operation) bool { return o.JSON != nil }))
	}
	given, _ := o.ParseArgs(args, true) // of which the host says what is wrong
	if format := given.Value("--format"); format != "" && format != "json" {
		return nil, target.Usagef("--json and --format %s exclude each other", format)
	}
	return slices.Concat(o.JSON, args), nil
}

// named lists the operations that are of a kind.
func named(of func(target.Operation) bool) string {
	var names []string
	for _, o := range target.Operations() {
		if of(o) {
			names = append(names, typedName(o))
		}
	}
	return strings.Join(names, ", ")
}

// typedName is an operation's name with the slashes that set those on the host apart.
func typedName(o target.Operation) string {
	if o.Scope == target.Host {
		return "//" + o.Name
	}
	return o.Name
}

// do carries out what was asked for.
func (c *client) do(ctx context.Context, t target.Target) error {
	file, err := c.readHostsFile()
	if err != nil {
		return err
	}
	c.hosts = file
	places := c.places(file, t.Hosts)
	if len(places) > 1 {
		return c.doAll(ctx, places, t.Command)
	}
	return c.job(places[0], t.Command).do(ctx)
}

// job is the command on one host.
func (c *client) job(p place, command target.Command) *job {
	j := &job{client: c, console: c.console, place: p, command: command, colors: showsColors(c.own.out, c.env)}
	o, _ := target.Lookup(command.Scope(), command.Operation)
	if !o.Input {
		return j
	}
	args, _ := o.ParseArgs(command.Args, true) // of which the host says what is wrong
	j.input = !args.Has("--detach")
	j.tty = c.wantsTerminal(args)
	return j
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
		summary := o.Summary
		if o.OperatorOnly {
			summary += " (operators)"
		}
		fmt.Fprintf(table, "  %s\t%s\n", typedName(o), summary)
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
