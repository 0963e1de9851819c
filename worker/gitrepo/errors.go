package gitrepo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing/object"
)

// Kinds of errors that a caller may want to tell apart; ask with errors.Is.
var (
	// ErrNoBranch: the remote has no such branch.
	ErrNoBranch = errors.New("no such branch")
	// ErrNotFound: the remote has no such repository, or does not show it.
	ErrNotFound = errors.New("repository not found")
	// ErrAuth: the remote wants credentials, or refuses those it got.
	ErrAuth = errors.New("not authorised")
	// ErrHostKey: the SSH server's key is unknown, or differs from the known one.
	ErrHostKey = errors.New("host key not accepted")
	// ErrStalled: nothing arrived for too long.
	ErrStalled = errors.New("no progress")
	// ErrBusy: the server asked for a pause, and is not asked before that is over.
	ErrBusy = errors.New("server wants a pause")
	// ErrMoved: the branch moved between Look and Fetch; look again.
	ErrMoved = errors.New("branch moved")
	// ErrFormat: the repository's objects have names that cannot be read here.
	ErrFormat = errors.New("unknown object format")
	// ErrTooLarge: the repository or a commit's files exceed the limit.
	ErrTooLarge = errors.New("too large")
	// ErrNoCommit: the commit was never fetched, or has been dropped since.
	ErrNoCommit = errors.New("no such commit")
	// ErrBadCommit: the commit holds something that can never be written to a directory.
	ErrBadCommit = errors.New("unusable commit")
	// ErrSubmodule: a submodule of the commit cannot be fetched.
	ErrSubmodule = errors.New("submodule cannot be fetched")
	// ErrDamaged: an object of a commit that should be here cannot be read. See
	// Rebuild.
	ErrDamaged = errors.New("damaged repository")
)

// errElsewhere: a submodule's server redirects to one from which submodules may not come.
var errElsewhere = errors.New("another server")

// Error is an error of this package. Its text is for the user: what was tried, why it failed and
// what to do. It never holds a secret.
type Error struct {
	Text string

	kind  error // one of the Err… above, or nil
	cause error // what caused it, or nil
}

func (e *Error) Error() string { return e.Text }

// Unwrap returns the kind of the error and its cause, without those that are nil.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.kind, e.cause} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func problem(kind error, format string, args ...any) *Error {
	return &Error{Text: fmt.Sprintf(format, args...), kind: kind}
}

// unreadable returns the error for a commit of which an object cannot be read.
func unreadable(commit Hash, cause error) *Error {
	if errors.Is(cause, object.ErrMalformedTree) {
		return &Error{Text: fmt.Sprintf("commit %s cannot be used: %v", commit, cause), kind: ErrBadCommit, cause: cause}
	}
	return &Error{
		Text:  fmt.Sprintf("the local repository is damaged: commit %s cannot be read: %v", commit, cause),
		kind:  ErrDamaged,
		cause: cause,
	}
}

// damaged returns the error for an object that is needed and cannot be read.
func damaged(cause error) *Error {
	return &Error{Text: fmt.Sprintf("the local repository is damaged: %v", cause), kind: ErrDamaged, cause: cause}
}

// fail returns the error that a conversation with the remote ends with.
func (r *origin) fail(verb string, err error) error {
	return &Error{
		Text:  fmt.Sprintf("%s %s: %s", verb, r.url, r.redact.text(explain(err))),
		cause: r.redact.error(err),
	}
}

// ended returns why ctx ended, if it did: err is only a consequence then.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// explain says in words for the user what err means.
func explain(err error) string {
	var (
		own         *Error
		dns         *net.DNSError
		op          *net.OpError
		certificate *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &own):
		return own.Text
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		return "it took longer than allowed"
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return fmt.Sprintf("the proxy cannot be reached: %v; check the proxy's URL in [pgod] or in pgod's environment", op.Err)
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("there is no host %s; check `repository`", dns.Name)
	case errors.As(err, &certificate):
		return fmt.Sprintf("its certificate is not trusted: %v; install its authority's certificate on this host, or set `ca`", certificate.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused; is its server up?"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "the connection was lost"
	case errors.Is(err, syscall.ENOSPC):
		return "the disk is full"
	}
	return err.Error()
}
