package compose

import (
	"errors"
	"strings"

	"pgo/internal/lazyregexp"
)

// What the engine says about a container, or compose about a build, when the repository is known
// to be the cause. Only that condemns a commit. Everything else, known or not, is a fault of the
// surroundings: no address pool, no iptables chain, a name in use, a runtime that is missing, and
// whatever a later engine says.
var (
	// refusesConfig matches an engine's refusal of what a container is to be.
	refusesConfig = phrases(
		`invalid (mount config|volume spec|bind mount|mode|hostname|IP|IPv4|IPv6|MAC|CIDR|address|network mode|port|publish|device|isolation|restart policy|environment variable|cpu|ulimit|capability|endpoint settings|security[- ]opt)`,
		`the working directory '.*' is invalid`, `(is not|must be) an absolute path`,
		`minimum memory limit`, `minimum memoryswap limit`, `minimum memory reservation`, `range of CPUs is from`, `requested CPUs are not available`,
		`requested memory nodes are not available`, `pids limit`, `range of blkio weight`, `range for oom score`, `shm size`,
		`unknown capability`, `unknown log opt`, `invalid log opt`, `conflicting options`, `duplicate mount point`,
		`sysctl .* is not (allowed|whitelisted|in a separate kernel namespace)`,
		`user specified IP address is supported only`, `no configured subnet (or ip-range )?contains? IP address`, `does not belong to any of this network's subnets`,
	)
	// refusesStart matches why a container that exists could not be started.
	refusesStart = phrases(
		`container process( caused)?: (error during container init: )?exec: "`, // no such command, or not an executable
		`unable to find (user|group)`, `no matching entries in (passwd|group) file`,
		`gathering device information`, // no such device
		`trying to mount a directory onto a file`, `error mounting ".*not a directory`,
		`chdir to cwd`, `mkdir cwd`,
		`open /proc/sys/`, `write sysctl key`,
		`error setting rlimit`,
	)
	// failsStep matches a build in which a step failed, or that has a mistake.
	failsStep = phrases(
		`returned a non-zero code: \d+`, `did not complete successfully: exit code`, `executor failed running`,
		`(COPY|ADD) failed`, `failed to (compute cache key|calculate checksum).*not found`,
		`dockerfile parse error`, `unknown (instruction|flag)`, `failed to parse`, `requires (at least|exactly) \w+ argument`,
		`failed to read dockerfile`, `cannot locate specified dockerfile`, `the dockerfile .* cannot be empty`, `no build stage in current context`,
		`target stage .* could not be found`, `failed to reach build target`, `invalid from flag value`, `base name .* should not be blank`,
		`forbidden path outside the build context`,
	)
	// lacksNetwork matches what a step of a build prints when its network, or the host, is at
	// fault: another try costs nothing that runs.
	lacksNetwork = phrases(
		`temporary failure in name resolution`, `could not resolve`, `no such host`, `bad address`, `EAI_AGAIN`, `ETIMEDOUT`, `ECONNRE`,
		`i/o timeout`, `timed out`, `handshake timeout`, `connection (refused|reset)`, `network is unreachable`, `no route to host`,
		`bad gateway`, `service unavailable`, `gateway time-?out`, `toomanyrequests`, `context deadline exceeded`,
		`no space left on device`, `disk quota exceeded`, `cannot allocate memory`,
	)
)

func phrases(each ...string) *lazyregexp.Regexp {
	return lazyregexp.New(`(?i)` + strings.Join(each, "|"))
}

// StartRefused reports whether the container could not be started because of what the repository
// says about it.
func (c Container) StartRefused() bool { return c.Error != "" && refusesStart.MatchString(c.Error) }

// Refused reports whether a compose that was to create and start containers failed because of
// what the repository says about them.
func Refused(err error) bool {
	var exit *ExitError
	if errors.As(err, &exit) && strings.Contains(exit.last(), "bind source path does not exist") {
		return false // it may be mounted later
	}
	return errors.As(err, &exit) && (exit.Spent || refusesConfig.MatchString(exit.last()) || refusesStart.MatchString(exit.last()))
}

// failedDependency matches what compose says about a container that others wait for.
var failedDependency = lazyregexp.New(`dependency failed to start: container (\S+) (is unhealthy|exited \(\d+\))`)

// FailedDependency returns the container that kept compose from starting those that wait for it,
// and what was wrong with it: its restart policy may have started it again since. Both are empty for
// another error.
func FailedDependency(err error) (name, problem string) {
	var exit *ExitError
	if !errors.As(err, &exit) {
		return "", ""
	}
	found := failedDependency.FindStringSubmatch(exit.last())
	if found == nil {
		return "", ""
	}
	return found[1], found[2]
}

// BuildFailed reports whether a build failed because of what the repository has it do.
func BuildFailed(err error) bool {
	var exit *ExitError
	return errors.As(err, &exit) && (exit.Spent || failsStep.MatchString(exit.Output) && !lacksNetwork.MatchString(exit.Output))
}
