package main

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pgo/internal/target"
)

// check reads what was typed, as far as that is possible without a connection.
func (c *client) check(command *cobra.Command, words []string) (target.Target, error) {
	if c.flags.timeout <= 0 {
		return target.Target{}, target.Usagef("--timeout %v is not a valid time; write for example 30s", c.flags.timeout)
	}
	if c.flags.port == 0 && command.Flags().Changed("port") {
		return target.Target{}, target.Usagef("--port 0 is not a port: a number from 1 to 65535")
	}
	if c.flags.fingerprint != "" {
		if err := checkFingerprint(c.flags.fingerprint); err != nil {
			return target.Target{}, target.Usagef("--fingerprint: %v", err)
		}
	}
	if c.flags.tty && c.flags.noTTY {
		return target.Target{}, target.Usagef("--tty and --no-tty are mutually exclusive")
	}
	t, err := target.ParseTarget(words)
	if err != nil {
		return target.Target{}, err
	}
	o, _ := target.Lookup(t.Scope(), t.Operation)
	if c.flags.tty && !o.Input {
		return target.Target{}, target.Usagef("%s uses no terminal: --tty is for operations that take input: %s", typedName(o), named(func(o target.Operation) bool { return o.Input }))
	}
	if c.flags.serveMetrics != "" {
		if err := checkExporter(c.flags.serveMetrics, t); err != nil {
			return target.Target{}, err
		}
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
	given, _ := o.ParseArgs(args, true) // the host reports what is wrong with them
	if format := given.Value("--format"); format != "" && format != "json" {
		return nil, target.Usagef("--json and --format %s are mutually exclusive", format)
	}
	return slices.Concat(o.JSON, args), nil
}

// named lists the operations of a kind.
func named(of func(target.Operation) bool) string {
	var names []string
	for _, o := range target.Operations() {
		if of(o) {
			names = append(names, typedName(o))
		}
	}
	return strings.Join(names, ", ")
}

// typedName returns an operation's name with the slashes that mark one on the host.
func typedName(o target.Operation) string {
	if o.Scope == target.Host {
		return "//" + o.Name
	}
	return o.Name
}
