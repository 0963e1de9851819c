package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"pgo/internal/bounded"
	"pgo/internal/printable"
	"pgo/internal/target"
)

// completionTime is how long a shell, and whoever has pressed Tab, waits for a host.
var completionTime = time.Second

const nothingElse = cobra.ShellCompDirectiveNoFileComp

// complete offers a shell what can be typed next. After an error it offers nothing, and does not
// report it.
func (c *client) complete(command *cobra.Command, words []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	file, err := c.readHostsFile()
	if err != nil {
		return nil, nothingElse
	}
	c.hosts, c.batch = file, true
	ctx, cancel := context.WithTimeout(command.Context(), completionTime)
	defer cancel()
	if len(words) > 0 {
		return c.completeArgs(ctx, words, typed), nothingElse
	}
	place, _, hasOperation := strings.Cut(typed, "//")
	switch colon := strings.IndexByte(place[strings.LastIndexByte(place, ']')+1:], ':'); {
	case hasOperation:
		return startingWith(typed, completeOperation(place)), nothingElse
	case colon < 0:
		return startingWith(typed, c.completeHost(place)), nothingElse | cobra.ShellCompDirectiveNoSpace
	default:
		return startingWith(typed, c.completeService(ctx, place)), nothingElse | cobra.ShellCompDirectiveNoSpace
	}
}

// startingWith returns only what continues the typed text.
func startingWith(typed string, all []cobra.Completion) []cobra.Completion {
	return slices.DeleteFunc(all, func(c cobra.Completion) bool { return !strings.HasPrefix(c, typed) })
}

// completeHost offers hosts, and groups of them, after those that are typed already.
func (c *client) completeHost(place string) []cobra.Completion {
	before := place[:strings.LastIndexByte(place, ',')+1]
	var all []cobra.Completion
	for _, name := range append(c.hosts.names(), c.knownNames()...) {
		if strings.Contains(name, ":") {
			name = "[" + name + "]"
		}
		all = append(all, before+name+":")
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// knownNames returns the hosts in the files of known ones that have an entry for pgod's port,
// without those whose names are hashed.
func (c *client) knownNames() []string {
	anywhere := c.place(c.hosts, "")
	var names []string
	for _, path := range c.knownHostsFiles(anywhere) {
		text, err := os.ReadFile(path)
		for err == nil {
			var hosts []string
			_, hosts, _, _, text, err = ssh.ParseKnownHosts(text)
			for _, host := range hosts {
				name, ok := strings.CutSuffix(host, "]:"+strconv.Itoa(int(anywhere.port)))
				if ok && !strings.ContainsAny(name, "*?!|") {
					names = append(names, strings.TrimPrefix(name, "["))
				}
			}
		}
	}
	return names
}

// completeService offers the services of a host that one of the keys may use, and the host
// itself.
func (c *client) completeService(ctx context.Context, place string) []cobra.Completion {
	t, err := target.ParseTarget([]string{place[:strings.LastIndexByte(place, ':')+1] + "//ping"})
	if err != nil {
		return nil
	}
	place = place[:strings.LastIndexByte(place, ':')+1]
	p := c.places(c.hosts, t.Hosts)[0]
	all := []cobra.Completion{}
	for _, name := range c.hosts.hosts[p.name].services {
		all = append(all, place+name+"//")
	}
	answer := c.inquire(ctx, p, target.Command{Operation: "services"})
	if len(answer) > 0 {
		all = append(all, place+"//")
	}
	for line := range strings.Lines(string(answer)) {
		if name := strings.TrimSuffix(line, "\n"); target.IsService(name) {
			all = append(all, place+name+"//")
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// completeOperation offers operations; of those with two words, the first word.
func completeOperation(place string) []cobra.Completion {
	var all []cobra.Completion
	for _, o := range operationsOf(place) {
		name, _, two := strings.Cut(o.Name, " ")
		summary := o.Summary
		if two {
			summary = name + " …"
		}
		all = append(all, cobra.CompletionWithDesc(place+"//"+name, summary))
	}
	return slices.Compact(all)
}

func operationsOf(place string) []target.Operation {
	scope := target.Service
	if strings.HasSuffix(place, ":") {
		scope = target.Host
	}
	return slices.DeleteFunc(target.Operations(), func(o target.Operation) bool { return o.Scope != scope })
}

// completeArgs offers what may follow a target.
func (c *client) completeArgs(ctx context.Context, words []string, typed string) []cobra.Completion {
	t, err := target.ParseTarget(words)
	if err != nil {
		return startingWith(typed, secondWords(words))
	}
	o, _ := target.Lookup(t.Scope(), t.Operation)
	if n := len(t.Args); n > 0 {
		if flag, ok := flagOf(o, t.Args[n-1]); ok && flag.Value != "" {
			return startingWith(typed, flagValues[flag.Long])
		}
	}
	given, _ := o.ParseArgs(t.Args, true) // more may be missing
	if len(given.Command) > 0 || o.Positional == target.ServiceAndCommand && len(given.Services) > 0 {
		return nil // it belongs to another program
	}
	if strings.HasPrefix(typed, "-") {
		var all []cobra.Completion
		for _, f := range o.Flags {
			all = append(all, cobra.CompletionWithDesc(f.Long, f.Value))
		}
		return startingWith(typed, all)
	}
	return startingWith(typed, c.completePositional(ctx, t, o, given))
}

// secondWords returns the second words of operations that have two.
func secondWords(words []string) []cobra.Completion {
	place, first, ok := strings.Cut(words[0], "//")
	if !ok || len(words) > 1 {
		return nil
	}
	var all []cobra.Completion
	for _, o := range operationsOf(place) {
		if second, ok := strings.CutPrefix(o.Name, first+" "); ok {
			all = append(all, cobra.CompletionWithDesc(second, o.Summary))
		}
	}
	return all
}

// flagOf returns the operation's flag that is typed like this, without a value.
func flagOf(o target.Operation, typed string) (target.Flag, bool) {
	i := slices.IndexFunc(o.Flags, func(f target.Flag) bool { return typed != "" && (f.Long == typed || f.Short == typed) })
	if i < 0 {
		return target.Flag{}, false
	}
	return o.Flags[i], true
}

// flagValues are the values that a flag may have, where they can be listed.
var flagValues = map[string][]cobra.Completion{
	"--pull":     {"always", "missing", "never"},
	"--format":   {"json", "table"},
	"--status":   {"created", "dead", "exited", "paused", "removing", "restarting", "running"},
	"--tail":     {"all", "10", "100"},
	"--protocol": {"tcp", "udp"},
}

// completePositional offers the operation's objects, as the host lists them.
func (c *client) completePositional(ctx context.Context, t target.Target, o target.Operation, given target.Args) []cobra.Completion {
	p := c.places(c.hosts, t.Hosts)[0]
	about := target.Command{Service: t.Service}
	switch {
	case o.Positional == target.Commit && given.Text == "":
		about.Operation, about.Args = "history", []string{"--json"}
		return commits(c.inquire(ctx, p, about))
	case o.Positional == target.Services, o.Positional == target.ServiceAndCommand, o.Positional == target.ServiceAndPort && len(given.Services) == 0:
		about.Operation, about.Args = "ps", []string{"--all", "--services"}
	default:
		return nil
	}
	var all []cobra.Completion
	for line := range strings.Lines(string(c.inquire(ctx, p, about))) {
		name := strings.TrimSpace(line)
		if target.ComposeService.MatchString(name) && !slices.Contains(given.Services, name) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// commits returns the commits that a rollback can name.
func commits(history []byte) []cobra.Completion {
	var records []struct {
		Commit, Subject string
		CanGoTo         bool `json:"can_roll_back_to"`
	}
	if json.Unmarshal(history, &records) != nil {
		return nil
	}
	var all []cobra.Completion
	for _, r := range records {
		if short := r.Commit[:min(len(r.Commit), 12)]; r.CanGoTo && isCommit(short) {
			all = append(all, cobra.CompletionWithDesc(short, printable.Line(r.Subject)))
		}
	}
	return all
}

func isCommit(text string) bool { return strings.Trim(text, "0123456789abcdef") == "" }

// maxInquiry bounds what is read of an answer.
const maxInquiry = 1 << 20

// inquire returns what a command prints, if it does so in time and nobody has to be asked for
// anything.
func (c *client) inquire(ctx context.Context, p place, command target.Command) []byte {
	output := &bounded.Buffer{Most: maxInquiry}
	j := &job{client: c, console: console{stdout: output, stderr: io.Discard}, place: p, command: command}
	if j.do(ctx) != nil || output.Cut {
		return nil
	}
	return output.Bytes()
}
