package target

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"pgo/internal/lazyregexp"
	"pgo/internal/nearest"
	"pgo/internal/printable"
)

// Args are an operation's arguments, checked against its row of the table.
type Args struct {
	Given    []Given  // the flags, in the order in which they were typed
	Services []string // compose services
	Text     string   // a commit, a reason, or a container's port
	Command  []string // for a container: the program and its arguments
}

// Given is one flag that was given.
type Given struct{ Flag, Value string } // Flag is the long name: "--tail"

// Has reports whether a flag was given, by its long name: "--volumes".
func (a Args) Has(long string) bool {
	return slices.ContainsFunc(a.Given, func(g Given) bool { return g.Flag == long })
}

// Value returns a flag's value: the last one if there are several, "" if there is none.
func (a Args) Value(long string) string {
	values := a.Values(long)
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// Values returns all values of a flag that may be given several times.
func (a Args) Values(long string) []string {
	var values []string
	for _, g := range a.Given {
		if g.Flag == long {
			values = append(values, g.Value)
		}
	}
	return values
}

// Words returns the arguments for compose. Each flag is one word with its long name, so that
// compose reads them exactly as the check did.
func (a Args) Words() []string {
	var words []string
	for _, g := range a.Given {
		if g.Value != "" {
			g.Flag += "=" + g.Value
		}
		words = append(words, g.Flag)
	}
	return append(words, a.Services...)
}

// CheckArgs returns what is wrong with the arguments that were typed for the operation.
func (o Operation) CheckArgs(args []string, operator bool) error {
	_, err := o.ParseArgs(args, operator)
	return err
}

// ParseArgs parses the arguments that were typed for the operation. Flags and services may be
// mixed, and flags may be written in any way that compose accepts. Anything that is not in the
// table is a *UsageError.
func (o Operation) ParseArgs(args []string, operator bool) (Args, error) {
	p := argParser{operation: o, operator: operator, rest: args}
	for len(p.rest) > 0 {
		arg := p.rest[0]
		p.rest = p.rest[1:]
		var err error
		switch {
		case p.flagsEnded || arg == "-" || !strings.HasPrefix(arg, "-"):
			err = p.positional(arg)
		case arg == "--":
			p.flagsEnded = true
		case strings.HasPrefix(arg, "--"):
			err = p.long(arg)
		default:
			err = p.short(arg)
		}
		if err != nil {
			return Args{}, err
		}
	}
	return p.args, p.complete()
}

// complete returns an error if something is missing.
func (p *argParser) complete() error {
	switch p.operation.Positional {
	case ServiceAndCommand:
		if len(p.args.Command) == 0 {
			return Usagef("%s needs a compose service and a command: %s [flags] SERVICE COMMAND [args…]", p.operation.Name, p.operation.Name)
		}
	case ServiceAndPort:
		if p.args.Text == "" {
			return Usagef("%s needs a compose service and a port of its containers: %s SERVICE PORT", p.operation.Name, p.operation.Name)
		}
	}
	return nil
}

// maxReason limits the length of a reason: it is stored.
const maxReason = 500

type argParser struct {
	operation  Operation
	operator   bool
	rest       []string // not parsed yet
	flagsEnded bool     // by "--"
	args       Args
}

// ComposeService matches the name of a compose service that no program takes for a flag.
var ComposeService = lazyregexp.New(`^[a-zA-Z0-9._][a-zA-Z0-9._-]*$`)

var commit = lazyregexp.New(`^[0-9a-f]{4,64}$`)

func (p *argParser) positional(arg string) error {
	switch p.operation.Positional {
	case None:
		return Usagef("%s takes no argument %s; %s", p.operation.Name, printable.Quote(arg), p.allowed())
	case Commit:
		if p.args.Text != "" {
			return Usagef("%s takes one commit", p.operation.Name)
		}
		if !commit.MatchString(arg) {
			return Usagef("%s is not a commit: 4 to 64 of 0 to 9 and a to f", printable.Quote(arg))
		}
		p.args.Text = arg
		return nil
	case Reason:
		if strings.ContainsFunc(arg, unicode.IsControl) {
			return Usagef("%s takes a reason without control characters", p.operation.Name)
		}
		if p.args.Text += " " + arg; len(p.args.Text) > maxReason {
			return Usagef("%s takes a reason of at most %d bytes", p.operation.Name, maxReason)
		}
		p.args.Text = strings.TrimSpace(p.args.Text)
		return nil
	case ServiceAndPort:
		if len(p.args.Services) == 1 {
			return p.port(arg)
		}
	case Services, ServiceAndCommand:
	}
	if !ComposeService.MatchString(arg) {
		return Usagef("%s is not the name of a compose service: letters, digits, dots, dashes and underscores", printable.Quote(arg))
	}
	p.args.Services = append(p.args.Services, arg)
	if p.operation.Positional == ServiceAndCommand {
		p.args.Command, p.rest = p.rest, nil
	}
	return nil
}

func (p *argParser) port(arg string) error {
	if p.args.Text != "" {
		return Usagef("%s takes one compose service and one port", p.operation.Name)
	}
	if n, err := strconv.ParseUint(arg, 10, 16); err != nil || n == 0 {
		return Usagef("%s is not a port: a number from 1 to 65535", printable.Quote(arg))
	}
	p.args.Text = arg
	return nil
}

// long parses --flag, --flag=value and --flag value.
func (p *argParser) long(arg string) error {
	name, value, hasValue := strings.Cut(arg, "=")
	flag, err := p.find(name, func(f Flag) bool { return f.Long == name })
	if err != nil {
		return err
	}
	return p.give(flag, name, value, hasValue)
}

// short parses -f, -n5, -n=5, -n 5, and several flags in one word: -fn5.
func (p *argParser) short(arg string) error {
	for letters := arg[1:]; letters != ""; {
		name := "-" + letters[:1]
		flag, err := p.find(arg, func(f Flag) bool { return f.Short == name })
		if err != nil {
			return err
		}
		letters = letters[1:]
		if flag.Value != "" {
			value := strings.TrimPrefix(letters, "=")
			return p.give(flag, name, value, letters != "")
		}
		if err := p.give(flag, name, "", strings.HasPrefix(letters, "=")); err != nil {
			return err
		}
	}
	return nil
}

// find returns the flag that was typed, if this caller may use it.
func (p *argParser) find(typed string, is func(Flag) bool) (Flag, error) {
	i := slices.IndexFunc(p.operation.Flags, is)
	if i < 0 {
		near := ""
		if word, ok := nearest.Word(typed, p.usable()); ok {
			near = " (did you mean " + word + "?)"
		}
		return Flag{}, Usagef("%s does not take %s%s; %s", p.operation.Name, printable.Quote(typed), near, p.allowed())
	}
	flag := p.operation.Flags[i]
	if flag.OperatorOnly && !p.operator {
		return Flag{}, Usagef("%s takes %s from operators only; %s", p.operation.Name, flag.Long, p.allowed())
	}
	return flag, nil
}

// give records a flag. If the flag needs a value and has none yet, it takes the next word.
func (p *argParser) give(flag Flag, typed, value string, hasValue bool) error {
	if flag.Value == "" {
		if hasValue {
			return Usagef("%s %s takes no value", p.operation.Name, typed)
		}
		p.args.Given = append(p.args.Given, Given{Flag: flag.Long})
		return nil
	}
	if !hasValue && len(p.rest) > 0 {
		value, p.rest = p.rest[0], p.rest[1:]
	}
	if value == "" {
		return Usagef("%s %s needs a value: %s %s", p.operation.Name, typed, flag.Long, flag.Value)
	}
	if flag.valid != nil && !flag.valid(value) {
		return Usagef("%s is not a value for %s %s: %s %s", printable.Quote(value), p.operation.Name, typed, flag.Long, flag.Value)
	}
	p.args.Given = append(p.args.Given, Given{flag.Long, value})
	return nil
}

// allowed lists what this caller may give to the operation.
func (p *argParser) allowed() string {
	flags := p.usable()
	switch {
	case len(flags) > 0:
		return "its flags are " + strings.Join(flags, ", ")
	case p.operation.Positional == Services:
		return "it takes names of compose services only"
	case p.operation.Positional == Commit:
		return "it takes a commit only"
	case p.operation.Positional == Reason:
		return "it takes a reason only"
	default:
		return "it takes no arguments at all"
	}
}

// usable lists the flags that this caller may give, short and long.
func (p *argParser) usable() []string {
	var names []string
	for _, f := range p.operation.Flags {
		if f.OperatorOnly && !p.operator {
			continue
		}
		if f.Short != "" {
			names = append(names, f.Short)
		}
		names = append(names, f.Long)
	}
	return names
}
