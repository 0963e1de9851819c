// Command demo shows pgo at work: two small services are deployed, changed, controlled and
// taken down on the real engine, and reached through a reverse proxy, by the command lines that
// a person would type. It ends with an error if one of these does not do what it should, and
// removes everything that it made.
//
// `make demo` runs it. With KEEP=1 in the environment everything stays, to play with.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	clean := flag.Bool("clean", false, "only remove what an earlier demo has left")
	flag.Parse()
	// With SIGPIPE, `make demo | head` cleans up, too.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	if err := run(ctx, *clean, os.Getenv("KEEP") == "1"); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, clean, keep bool) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root: it adds users and starts pgod")
	}
	// A name that is taken for as long as this process lives.
	only, err := net.Listen("unix", "@pgo-demo")
	if err != nil {
		return errors.New("another demo is running on this machine: wait for it to end")
	}
	defer only.Close()
	if _, err := os.Lstat(dir); err == nil || clean {
		fmt.Println("Removing what an earlier demo left …")
	}
	if err := removeAll(); err != nil || clean {
		return err
	}
	d, err := newDemo()
	if err != nil {
		return err
	}
	began := time.Now()
	err = play(ctx, d.shell, d.session())
	switch {
	case ctx.Err() != nil:
		err, keep = context.Cause(ctx), false
	case err != nil:
		fmt.Println("\nThis failed. The last lines of pgod's log:")
		_, _ = d.shell.run(ctx, "tail -n 20 pgod.log", os.Stdout)
	}
	if keep {
		fmt.Print(d.keptText())
		return err
	}
	fmt.Println("\nRemoving everything that the demo made …")
	err = errors.Join(err, removeAll())
	if err == nil {
		fmt.Printf("Everything worked, in %.0f s.\n", time.Since(began).Seconds())
	}
	return err
}

// demo knows what differs from machine to machine.
type demo struct {
	root                         string // of the project
	sshPort, httpPort, proxyPort int    // of pgod, the site and the proxy
	shell                        shell
}

func newDemo() (*demo, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"pgod", "pgo-worker", "pgoctl"} {
		if _, err := os.Stat(filepath.Join(root, "bin", program)); err != nil {
			return nil, fmt.Errorf("%w; `make demo` builds it", err)
		}
	}
	d := &demo{root: root, shell: newShell(root)}
	if d.sshPort, err = freePort(2222); err != nil {
		return nil, err
	}
	if d.httpPort, err = freePort(8080); err != nil {
		return nil, err
	}
	if d.proxyPort, err = freePort(d.httpPort + 1); err != nil {
		return nil, err
	}
	// The services' users must be able to read what is in there.
	syscall.Umask(0o022)
	return d, os.Mkdir(dir, 0o755)
}

// freePort returns the first port from this one on that nobody listens on.
func freePort(from int) (int, error) {
	for port := from; port < from+1000; port++ {
		if listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no port from %d to %d is free", from, from+999)
}
