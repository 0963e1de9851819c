// Package target defines pgo's command language: the grammar host:service//operation, the SSH exec
// line made from it, the table of operations with their flags, and the exit statuses that come
// back. It is shared by the client and the server, and must not know how operations are carried
// out.
package target

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"pgo/internal/lazyregexp"
	"pgo/internal/nearest"
	"pgo/internal/printable"
)

// Target is a command for pgoctl, and the hosts to run it on.
type Target struct {
	Hosts []string // names or addresses, IPv6 ones without brackets; at least one, without duplicates
	Command
}

// Command is one operation to carry out. Its Operation is always in the table.
type Command struct {
	Service   string // empty: an operation on the host
	Operation string // one word or two: "up", "git pull"
	Args      []string
}

// Scope returns whether the command acts on a service or on the host.
func (c Command) Scope() Scope {
	if c.Service == "" {
		return Host
	}
	return Service
}

// Line returns the SSH exec line for the command. ParseCommand parses it.
func (c Command) Line() string {
	var line strings.Builder
	line.WriteString(c.Service + "//" + c.Operation)
	for _, arg := range c.Args {
		line.WriteByte(' ')
		line.WriteString(quoteWord(arg))
	}
	return line.String()
}

// form shows the form of a target.
const form = "write host:service//operation"

// ParseTarget parses pgoctl's positional arguments: host:service//operation and its arguments.
// There may be several hosts, separated by commas.
func ParseTarget(words []string) (Target, error) {
	if len(words) == 0 {
		return Target{}, Usagef("no target: %s, for example localhost:pgo//ps", form)
	}
	place, operation, ok := strings.Cut(words[0], "//")
	if !ok {
		return Target{}, noTarget(words)
	}
	list, service, ok := cutHost(place)
	if !ok {
		return Target{}, noHost(words[0], place, operation)
	}
	hosts, err := splitHosts(list)
	if err != nil {
		return Target{}, err
	}
	if strings.Contains(service, ":") {
		return Target{}, Usagef("%s names more than host and service: give the port as -p, %s", printable.Quote(words[0]), form)
	}
	command, err := newCommand(service, operation, words[1:])
	if err != nil {
		return Target{}, err
	}
	return Target{Hosts: hosts, Command: command}, nil
}

// noTarget returns the error for words without a //.
func noTarget(words []string) error {
	word := words[0]
	text := fmt.Sprintf("%s is not a target: %s", printable.Quote(word), form)
	host, service, ok := cutHost(word)
	const most = 100 // bytes; longer words are not repeated without quotes
	if len(word) > most {
		return Usagef("%s, for example localhost:pgo//ps", text)
	}
	if strings.Contains(word, "/") {
		meant := strings.Replace(word, "/", "//", 1)
		if _, err := ParseTarget(append([]string{meant}, words[1:]...)); err == nil {
			return Usagef("%s; did you mean %s?", text, meant)
		}
	}
	if ok && CheckHost(host) == nil && IsService(service) {
		return Usagef("%s names no operation: %s, for example %s//ps", printable.Quote(word), form, word)
	}
	return Usagef("%s, for example localhost:pgo//ps", text)
}

// noHost returns the error for a target without a colon before the //.
func noHost(word, place, operation string) error {
	text := fmt.Sprintf("%s does not name a host: %s", printable.Quote(word), form)
	if !IsService(place) || len(operation) > len("worker restart") || !utf8.ValidString(operation) {
		return Usagef("%s, for example localhost:pgo//ps", text)
	}
	service, _ := newCommand(place, operation, nil)
	host, _ := newCommand("", operation, nil)
	switch {
	case service.Operation != "" && host.Operation != "":
		return Usagef("%s; for a service, write host:%s; for a host itself, write %s:%s", text, service.Line(), place, host.Line())
	case host.Operation != "":
		return Usagef("%s; for a host itself, write %s:%s", text, place, host.Line())
	case service.Operation != "":
		return Usagef("%s; did you mean host:%s or %s:service//%s?", text, service.Line(), place, operation)
	}
	return Usagef("%s, for example localhost:pgo//ps", text)
}

// splitHosts parses host,host,…
func splitHosts(list string) ([]string, error) {
	var hosts []string
	for host := range strings.SplitSeq(list, ",") {
		if host == "" {
			return nil, Usagef("%s has one comma too many: write host,host", printable.Quote(list))
		}
		if err := CheckHost(host); err != nil {
			return nil, err
		}
		if host = strings.Trim(host, "[]"); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts, nil
}

// ParseCommand parses an SSH exec line: service//operation and its arguments, split into words as
// by a POSIX shell, without any expansion.
func ParseCommand(line string) (Command, error) {
	words, err := SplitWords(line)
	if err != nil {
		return Command{}, err
	}
	if len(words) == 0 {
		return Command{}, Usagef("no command: write service//operation, for example pgo//ps")
	}
	service, operation, ok := strings.Cut(words[0], "//")
	if !ok {
		return Command{}, Usagef("%s is not a command: write service//operation, for example pgo//ps", printable.Quote(words[0]))
	}
	if strings.Contains(service, ":") {
		return Command{}, Usagef("%s names a host: an SSH client takes that as a separate argument; write service//operation, for example pgo//ps", printable.Quote(words[0]))
	}
	return newCommand(service, operation, words[1:])
}

var serviceName = lazyregexp.New(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// maxServiceName is the length limit of a label in a host name.
const maxServiceName = 63

// IsService reports whether name is a valid name of a service.
func IsService(name string) bool { return len(name) <= maxServiceName && serviceName.MatchString(name) }

func newCommand(service, operation string, args []string) (Command, error) {
	if service != "" && !IsService(service) {
		return Command{}, Usagef("%s is not the name of a service: lower-case letters, digits and dashes, at most 63 of them", printable.Quote(service))
	}
	c := Command{Service: service, Operation: operation, Args: args}
	if _, ok := Lookup(c.Scope(), c.Operation); !ok && len(args) > 0 {
		c.Operation, c.Args = operation+" "+args[0], args[1:]
	}
	if _, ok := Lookup(c.Scope(), c.Operation); !ok {
		return Command{}, unknownOperation(c.Scope(), operation, c.Operation)
	}
	for _, arg := range c.Args {
		if !utf8.ValidString(arg) || strings.ContainsRune(arg, 0) {
			return Command{}, Usagef("argument %s is not text: arguments are UTF-8 without NUL", printable.Quote(arg))
		}
	}
	if len(c.Args) == 0 {
		c.Args = nil
	}
	return c, nil
}

// unknownOperation returns the error for the word that was typed, alone and with the next one.
func unknownOperation(scope Scope, typed, twoWords string) error {
	var names []string
	for _, o := range operations {
		if o.Scope == scope {
			names = append(names, o.Name)
		}
	}
	what := "no operation " + printable.Quote(typed)
	isFirst := func(name string) bool { return strings.HasPrefix(name, typed+" ") }
	switch {
	case typed == "":
		what = "no operation is given"
	case slices.ContainsFunc(names, isFirst): // of two words
		what = "no operation " + printable.Quote(twoWords)
		names = slices.DeleteFunc(names, func(name string) bool { return !isFirst(name) })
	}
	if scope == Host {
		what += " (without a service it is about the host)"
	}
	for _, word := range []string{typed, twoWords} {
		if near, ok := nearest.Word(word, names); ok {
			return Usagef("%s; did you mean %s?", what, near)
		}
	}
	return Usagef("%s; there are %s", what, strings.Join(names, ", "))
}

// cutHost splits host:service. The colons of an IPv6 address are inside its brackets.
func cutHost(place string) (host, service string, ok bool) {
	from := strings.LastIndexByte(place, ']') + 1
	i := strings.IndexByte(place[from:], ':')
	if i < 0 || from+i == 0 {
		return "", "", false
	}
	return place[:from+i], place[from+i+1:], true
}

var hostName = lazyregexp.New(`^[a-zA-Z0-9_][a-zA-Z0-9._-]*$`)

// CheckHost returns an error if host is neither a name nor an address; IPv6 needs brackets.
func CheckHost(host string) error {
	if strings.HasPrefix(host, "[") {
		if ip, err := netip.ParseAddr(strings.TrimSuffix(host[1:], "]")); err == nil && ip.Is6() {
			return nil
		}
	}
	if hostName.MatchString(host) {
		return nil
	}
	if user, _, ok := strings.Cut(host, "@"); ok {
		return Usagef("%s is not the name of a host: give the login name as -l %s", printable.Quote(host), printable.Quote(user))
	}
	return Usagef("%s is neither the name of a host nor its address ([::1] for IPv6)", printable.Quote(host))
}
