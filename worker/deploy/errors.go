package deploy

import (
	"errors"
	"fmt"
	"strings"

	"pgo/internal/policy"
	"pgo/internal/printable"
)

// verdict is an error that is the commit's own fault: another attempt at the same commit
// ends the same way. Every other error is a fault of the surroundings, and the next poll
// tries again.
type verdict struct{ error }

func (v verdict) Unwrap() error { return v.error }

func isVerdict(err error) bool {
	var v verdict
	return errors.As(err, &v)
}

// ErrNothingFetched means that the branch was never fetched.
var ErrNothingFetched = errors.New("nothing is fetched yet")

// ErrNothingDeployed means that there is no model to act on.
var ErrNothingDeployed = errors.New("nothing is deployed yet")

// DamagedStateError means that the service's saved state cannot be read.
type DamagedStateError struct{ path string }

func (e *DamagedStateError) Error() string {
	return e.path + " is damaged: repair it, or remove it to deploy afresh"
}

// ErrIsDown means that there are no containers, and that somebody wants it so.
var ErrIsDown = errors.New("the service is down: run up")

// FrozenError refuses an operation that would follow the branch.
type FrozenError struct{ Frozen *Frozen }

func (e *FrozenError) Error() string {
	return fmt.Sprintf("frozen %s; run unfreeze to follow the branch again, or rollback COMMIT to deploy an earlier commit", e.Frozen)
}

// NoCommitError means that there is no such deploy to go back to.
type NoCommitError struct{ Text string }

func (e *NoCommitError) Error() string { return e.Text }

// RefusedError means that the policy refuses a model.
type RefusedError struct {
	Commit   string           // short
	Refusals []policy.Refusal // the first ones
	All      int              // how many there are
}

func (e *RefusedError) Error() string {
	if e.All == 1 {
		return "the policy refuses " + e.Commit + ": " + e.Refusals[0].String()
	}
	return fmt.Sprintf("the policy refuses %s for %d reasons", e.Commit, e.All)
}

// Details returns a line for each refusal, or none if the error message has the only one.
func (e *RefusedError) Details() []string {
	if e.All == 1 {
		return nil
	}
	var lines []string
	for _, r := range e.Refusals {
		lines = append(lines, r.String())
	}
	if more := e.All - len(e.Refusals); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

// stepError says which step of a deploy ended with an error.
type stepError struct {
	step string // "pull the images of"
	what string // short commit
	err  error
}

func (e *stepError) Error() string {
	return fmt.Sprintf("cannot %s %s: %v", e.step, e.what, e.err)
}

func (e *stepError) Unwrap() error { return e.err }

// Details returns the lines that belong to an error in addition to its message.
func Details(err error) []string {
	var detailed interface{ Details() []string }
	if errors.As(err, &detailed) {
		return detailed.Details()
	}
	return nil
}

// Bounds of what is kept and shown of an error: a repository decides how much there is.
const (
	maxRefusals = 100
	maxDetails  = 120
	maxLine     = 1 << 10
	maxError    = 4 << 10
)

// fail makes the record that of a deploy that ended with the error.
func (r *Record) fail(err error) {
	// As the state is saved in JSON: what is read back must be the same.
	valid := func(text string, most int) string { return strings.ToValidUTF8(printable.Cut(text, most), "\uFFFD") }
	r.Outcome, r.Error, r.Details = outcomeOf(err), valid(err.Error(), maxError), nil
	for _, line := range Details(err) {
		if len(r.Details) == maxDetails {
			break
		}
		r.Details = append(r.Details, valid(line, maxLine))
	}
}

// outcomeOf returns the outcome of a deploy that ended with the error.
func outcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return Deployed
	case errors.As(err, new(*RefusedError)):
		return Refused
	case errors.As(err, new(*unhealthyError)):
		return Degraded
	default:
		return Failed
	}
}

// splitLines splits text into its lines, without the empty ones at the end.
func splitLines(text string) []string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// SaysMore reports whether an error says more than the program whose status it carries has
// printed: what else was done about it.
func SaysMore(err error) bool {
	return errors.As(err, new(*unhealthyError)) || errors.As(err, new(*retreatError))
}
