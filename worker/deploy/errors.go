package deploy

import (
	"errors"
	"fmt"
)

// verdict is an error that is the commit's own fault: trying the same commit
// again leads to the same end. Every other error is a fault of the
// surroundings, and tried again with the next poll.
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
