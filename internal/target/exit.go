package target

import "fmt"

// The SSH exit statuses of pgo itself are 400 and up: compose, whose own status is passed on,
// cannot end with one of these.
const (
	StatusUsage        = 400 // no such operation, bad flag, no command
	StatusUnauthorized = 401 // the key has no permission
	StatusRefused      = 403 // refused by the policy
	StatusNotFound     = 404 // host operation or commit not found
	StatusConflict     = 409 // frozen, draining, nothing fetched or deployed yet, or to be confirmed
	StatusFault        = 500 // a fault in pgo
	StatusFailed       = 502 // git or Docker failed without a status of its own
	StatusUnavailable  = 503 // the worker is down
	StatusDeadline     = 504 // took too long
)

// ExitNoConnection is pgoctl's exit code when it received no status, as with OpenSSH.
const ExitNoConnection = 255

// ExitCode returns pgoctl's exit code for a status. An exit code has only eight bits, so pgo's own
// statuses become the nearest ones of sysexits.h.
func ExitCode(status int) int {
	switch status {
	case StatusUsage:
		return 64 // EX_USAGE
	case StatusUnauthorized:
		return 77 // EX_NOPERM
	case StatusRefused:
		return 78 // EX_CONFIG: the mistake is in the repository
	case StatusNotFound:
		return 68 // EX_NOHOST
	case StatusConflict:
		return 75 // EX_TEMPFAIL: it may work later
	case StatusFailed:
		return 76 // EX_PROTOCOL: another program's error
	case StatusUnavailable:
		return 69 // EX_UNAVAILABLE
	case StatusDeadline:
		return 74 // EX_IOERR
	}
	if status >= 0 && status <= 255 {
		return status
	}
	return 70 // EX_SOFTWARE: a fault in pgo, or an unknown status
}

// UnauthorizedPrefix begins the host's message for StatusUnauthorized.
const UnauthorizedPrefix = "Unauthorized: "

// Unauthorized returns the message for a key that may not use a service. It is the same whether or
// not the service exists, and the same from pgod and pgoctl.
func Unauthorized(user, service string) string {
	if service == "" {
		return fmt.Sprintf(UnauthorizedPrefix+"Key for user %q is not an operator's", user)
	}
	return fmt.Sprintf(UnauthorizedPrefix+"Key for user %q does not match any for name %s", user, service)
}
