package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pgo/internal/nearest"
	"pgo/internal/printable"
	"pgo/internal/target"
	"pgo/internal/version"
)

func (c *client) command() *cobra.Command {
	command := &cobra.Command{
		Use:   "pgoctl [flags] [--] host:service//operation [args…]",
		Short: "Control services that pgod runs",
		Long: "pgoctl carries out an operation on a service that pgod runs on a host, or on several hosts, separated by\n" +
			"commas. ~/.config/pgo/hosts.toml configures the hosts. pgoctl completion bash (or zsh, fish) prints a\n" +
			"script for the shell that completes all this.\n\n" + operations(),
		Example: "  pgoctl localhost:pgo//ps\n  pgoctl -i ~/.ssh/id_pgo www.example.org:pgo//logs -f --tail 10 web\n" +
			"  pgoctl web1,web2:pgo//status\n  pgoctl www.example.org:pgo//exec db psql < dump.sql",
		Version:           version.String(),
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: c.complete,
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
	command.SetFlagErrorFunc(flagError)
	flags := command.Flags()
	flags.SetInterspersed(false) // what follows the target belongs to the operation
	flags.SortFlags = false
	flags.StringArrayVarP(&c.flags.identities, "identity", "i", nil, "private key `FILE`; may be repeated (default: PGOCTL_ID, the SSH agent's, ~/.ssh/id_*)")
	flags.StringVarP(&c.flags.login, "login", "l", "", "login `NAME`, which is only shown and logged (default: the local user)")
	flags.Uint16VarP(&c.flags.port, "port", "p", 0, "`PORT` that pgod listens on (default: 2222)")
	flags.StringVar(&c.flags.knownHosts, "known-hosts", "", "`FILE` with the keys of known hosts (default: ~/.config/pgo/known_hosts and ~/.ssh/known_hosts)")
	flags.BoolVar(&c.flags.acceptNew, "accept-new", false, "remember the key of a host that is not known yet")
	flags.StringVar(&c.flags.fingerprint, "fingerprint", "", "accept the host key with this `DIGEST`, written SHA256:…, and no other")
	flags.DurationVar(&c.flags.timeout, "timeout", 30*time.Second, "longest `TIME` to connect and log in")
	flags.BoolVarP(&c.flags.tty, "tty", "t", false, "give the command a terminal on the host, wherever its input comes from")
	flags.BoolVarP(&c.flags.noTTY, "no-tty", "T", false, "give it none, even if pgoctl is used from one")
	flags.BoolVar(&c.flags.json, "json", false, "have the operation print JSON")
	flags.StringVar(&c.flags.serveMetrics, "serve-metrics", "", "serve the metrics of host://metrics on this `ADDRESS` over HTTP")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "print only what the host prints, and errors")
	flags.BoolP("version", "v", false, "print the version")
	for _, flag := range []string{"login", "port", "fingerprint", "timeout", "serve-metrics"} { // the values of the others are files
		_ = command.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions) // fails for a flag that does not exist
	}
	return command
}

// flagError says what is wrong with pgoctl's own flags.
func flagError(command *cobra.Command, err error) error {
	hint := "pgoctl --help lists the flags; an operation's own flags come after it"
	if unknown := new(pflag.NotExistError); errors.As(err, &unknown) {
		var names []string
		command.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near, ok := nearest.Word(unknown.GetSpecifiedName(), names); ok {
			hint = "did you mean --" + near + "? An operation's own flags come after the target"
		}
	}
	return target.Usagef("%s; %s", printable.Line(err.Error()), hint)
}

// operations lists the operations, for people.
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
