package target

import (
	"slices"
	"strconv"
	"strings"

	"pgo/internal/lazyregexp"
)

// Scope is what an operation acts on.
type Scope int

const (
	// Service operations are written host:service//operation.
	Service Scope = iota
	// Host operations are written host://operation.
	Host
)

// Positional is what an operation takes in addition to flags.
type Positional int

const (
	// None: flags only.
	None Positional = iota
	// Services: names of compose services, all of them when there are none.
	Services
	// Commit: one commit, which may be abbreviated or left out.
	Commit
	// Reason: free text, which may be left out.
	Reason
	// ServiceAndCommand: one compose service, then a command for it, which includes all flags
	// that follow.
	ServiceAndCommand
	// ServiceAndPort: one compose service and a port of its containers.
	ServiceAndPort
)

// Operation is a row of the table of operations.
type Operation struct {
	Name         string // one word or two, "git pull"
	Summary      string
	Scope        Scope
	OperatorOnly bool
	Positional   Positional
	Input        bool     // reads the client's input, and uses its terminal
	JSON         []string // the arguments that make it print JSON; nil: it cannot
	Flags        []Flag   // an allowlist: nothing else reaches compose
}

// Flag is a flag that an operation takes.
type Flag struct {
	Long         string // "--tail"
	Short        string // "-n"; most have none
	Value        string // the name of its value in messages; empty: it has none
	OperatorOnly bool

	valid func(value string) bool // nil: compose checks the value
}

var operations = []Operation{
	{Name: "ping", Summary: "say pong!: the key is right and the worker answers"},
	{Name: "up", Summary: "fetch the branch and deploy its head; ends a down", Positional: Services, Flags: []Flag{
		{Long: "--force-recreate"},
		{Long: "--pull", Value: "always|missing|never", valid: isPullPolicy},
		{Long: "--build"},
	}},
	{Name: "down", Summary: "take the service down and keep it down until up", Flags: []Flag{
		timeout,
		{Long: "--volumes", OperatorOnly: true},
	}},
	{Name: "pull", Summary: "fetch the branch and pull its images; build and up then act on that commit", Flags: []Flag{
		{Long: "--quiet", Short: "-q"},
		{Long: "--ignore-pull-failures"},
	}},
	{Name: "build", Summary: "fetch the branch and build the images of its head", Flags: []Flag{
		{Long: "--no-cache"},
		{Long: "--pull"},
	}},
	{Name: "stop", Summary: "stop containers until start or up", Positional: Services, Flags: []Flag{timeout}},
	{Name: "start", Summary: "start containers that are stopped", Positional: Services},
	{Name: "restart", Summary: "stop containers and start them again", Positional: Services, Flags: []Flag{timeout}},
	{Name: "ps", Summary: "list the containers", Positional: Services, JSON: formatJSON, Flags: []Flag{
		{Long: "--all", Short: "-a"},
		{Long: "--quiet", Short: "-q"},
		format,
		{Long: "--status", Value: "status"},
		{Long: "--services"},
	}},
	{Name: "logs", Summary: "show what the containers print", Positional: Services, Flags: []Flag{
		{Long: "--follow", Short: "-f"},
		{Long: "--tail", Short: "-n", Value: "number|all", valid: isTail},
		{Long: "--timestamps", Short: "-t"},
		{Long: "--since", Value: "time"},
		{Long: "--until", Value: "time"},
		{Long: "--no-log-prefix"},
		{Long: "--no-color"},
	}},
	{Name: "exec", Summary: "run a command in a container", Positional: ServiceAndCommand, Input: true, Flags: []Flag{
		{Long: "--no-tty", Short: "-T"},
		{Long: "--tty", Short: "-t"},
		{Long: "--interactive", Short: "-i"},
		{Long: "--detach", Short: "-d"},
		{Long: "--user", Short: "-u", Value: "user[:group]"},
		{Long: "--workdir", Short: "-w", Value: "directory"},
		{Long: "--env", Short: "-e", Value: "NAME=value", valid: isVariable},
		index,
	}},
	{Name: "top", Summary: "list the processes in the containers", Positional: Services},
	{Name: "images", Summary: "list the images that the containers use", Positional: Services, JSON: formatJSON, Flags: []Flag{
		{Long: "--quiet", Short: "-q"},
		{Long: "--format", Value: "json|table", valid: isJSONOrTable},
	}},
	{Name: "port", Summary: "print the host's address and port for a port of a container", Positional: ServiceAndPort, Flags: []Flag{
		{Long: "--protocol", Value: "tcp|udp", valid: isProtocol},
		index,
	}},
	{Name: "stats", Summary: "show what the containers use, and follow", Positional: Services, JSON: formatJSON, Flags: []Flag{
		{Long: "--no-stream"},
		format,
	}},
	{Name: "check", Summary: "fetch the branch and check its head against the policy"},
	{Name: "load", Summary: "the same as check"},
	{Name: "diff", Summary: "show what up would change"},
	{Name: "history", Summary: "list the deploys", JSON: justJSON, Flags: []Flag{asJSON}},
	{Name: "rollback", Summary: "deploy an earlier good deploy again, and freeze", Positional: Commit},
	{Name: "freeze", Summary: "stop following the branch", Positional: Reason},
	{Name: "unfreeze", Summary: "follow the branch again"},
	{Name: "watch", Summary: "show the output of the running or last deploy, and follow"},
	{Name: "git pull", Summary: "fetch the branch"},
	{Name: "git hash", Summary: "print the fetched commit"},
	{Name: "status", Summary: "show the wanted state, the deployed commit, the worker, and the last error", JSON: justJSON, Flags: []Flag{asJSON}},
	{Name: "worker restart", Summary: "end the service's worker gracefully; a new one is started", OperatorOnly: true},
	{Name: "worker kill", Summary: "end the service's worker at once; a new one is started", OperatorOnly: true},
	{Name: "worker status", Summary: "show the service's worker process", OperatorOnly: true},
	{Name: "ping", Summary: "say pong!: pgod answers", Scope: Host, OperatorOnly: true},
	{Name: "services", Summary: "list the services that the key may use", Scope: Host},
	{Name: "status", Summary: "list all services", Scope: Host, OperatorOnly: true, JSON: justJSON, Flags: []Flag{asJSON}},
	{Name: "ports", Summary: "list who owns which host port, and who uses it", Scope: Host, OperatorOnly: true, JSON: justJSON, Flags: []Flag{asJSON}},
	{Name: "top", Summary: "show what all services do and use, and follow", Scope: Host, OperatorOnly: true, JSON: justJSON, Flags: []Flag{
		asJSON,
		{Long: "--no-stream"},
	}},
	{Name: "reload", Summary: "read the configuration again", Scope: Host, OperatorOnly: true, Flags: []Flag{
		{Long: "--remove"},
	}},
	{Name: "metrics", Summary: "print metrics for Prometheus", Scope: Host, OperatorOnly: true},
	{Name: "version", Summary: "print pgod's version", Scope: Host, OperatorOnly: true},
}

var (
	asJSON   = Flag{Long: "--json"}
	justJSON = []string{"--json"}

	format     = Flag{Long: "--format", Value: "json|table|template of fields", valid: isFormat}
	formatJSON = []string{"--format", "json"}
)

// index chooses one of a compose service's containers.
var index = Flag{Long: "--index", Value: "number from 1", valid: isIndex}

var timeout = Flag{Long: "--timeout", Value: "seconds, at most 600", valid: isSeconds}

// Operations returns the table, beginning with the operations on a service.
func Operations() []Operation { return slices.Clone(operations) }

// Lookup finds an operation by the name it is typed with.
func Lookup(scope Scope, name string) (Operation, bool) {
	i := slices.IndexFunc(operations, func(o Operation) bool { return o.Scope == scope && o.Name == name })
	if i < 0 {
		return Operation{}, false
	}
	return operations[i], true
}

func isPullPolicy(value string) bool {
	return value == "always" || value == "missing" || value == "never"
}

// field is what a template may contain in braces: a field, as it is or as JSON. An unrestricted Go
// template can compute without end and use all of a host's memory.
var field = lazyregexp.New(`\{\{ *(json +)?\.[A-Za-z]* *\}\}`)

// isFormat accepts the values of docker compose's --format; templates may contain only fields.
func isFormat(value string) bool {
	const most = 500
	return len(value) <= most && !strings.Contains(field.ReplaceAllString(value, ""), "{{")
}

func isJSONOrTable(value string) bool { return value == "json" || value == "table" }

func isProtocol(value string) bool { return value == "tcp" || value == "udp" }

func isIndex(value string) bool {
	n, err := strconv.ParseUint(value, 10, 31)
	return err == nil && n > 0
}

var variable = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*=`)

func isVariable(value string) bool { return variable.MatchString(value) }

func isTail(value string) bool {
	_, err := strconv.ParseUint(value, 10, 31)
	return err == nil || value == "all"
}

// maxSeconds limits how long a container may take to stop: other commands wait meanwhile.
const maxSeconds = 600

func isSeconds(value string) bool {
	n, err := strconv.ParseUint(value, 10, 31)
	return err == nil && n <= maxSeconds
}
