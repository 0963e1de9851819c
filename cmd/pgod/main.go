// Command pgod listens for SSH clients and supervises one worker per service. It wires the parts,
// and decides when the configuration is read. It must not open a repository or talk to Docker,
// since it runs as root: workers do that.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"pgo/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := command().ExecuteContext(ctx)
	var problems config.Problems
	switch {
	case err == nil:
		return
	case errors.As(err, &problems):
		// One per line, as compilers print them: editors can jump there.
		fmt.Fprintln(os.Stderr, problems)
		fmt.Fprintf(os.Stderr, "pgod: mistakes in the configuration: %d\n", len(problems))
	default:
		fmt.Fprintln(os.Stderr, "pgod:", err)
	}
	os.Exit(1)
}
