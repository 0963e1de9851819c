package worker

import (
	"errors"
	"fmt"
	"testing"

	"pgo/worker/deploy"
)

// Whoever hears that there is nothing yet hears why, once.
func TestNothingYetIsExplained(t *testing.T) {
	w := &Worker{board: newBoard()}
	if err := w.explained(deploy.ErrNothingFetched); err != deploy.ErrNothingFetched {
		t.Errorf("without a fault: %v", err)
	}
	w.board.broken(errors.New("there is no branch x"))
	for _, is := range []error{deploy.ErrNothingFetched, deploy.ErrNothingDeployed} {
		if err := w.explained(is); !errors.Is(err, is) || err.Error() != is.Error()+": there is no branch x" {
			t.Errorf("got %v", err)
		}
	}
	for _, is := range []error{nil, errors.New("x"), fmt.Errorf("%w: the server is away", deploy.ErrNothingFetched)} {
		if err := w.explained(is); err != is {
			t.Errorf("%v became %v", is, err)
		}
	}
}
