// Command demo is pgo before your eyes: two small services are deployed,
// changed, asked, attacked and taken down, on the real engine, with the command
// lines that a person would type. It ends with an error where one of them does
// not do what it should, and takes all that it made off the machine again.
//
// `make demo` runs it. With KEEP=1 in the environment all stays, to play with.
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
	clean := flag.Bool("clean", false, "only remove what an earlier demo left")
	flag.Parse()
	// SIGPIPE is here for `make demo | head`: without it the process would end
	// at once, and leave everything behind.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	if err := demo(ctx, *clean, os.Getenv("KEEP") != ""); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, clean, keep bool) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("needs root: it adds two users and starts pgod")
	}
	// A name that is taken for as long as this process lives.
	only, err := net.Listen("unix", "@pgo-demo")
	if err != nil {
		return errors.New("another demo runs on this machine: wait for its end")
	}
	defer only.Close()
	if err := removeAll(); err != nil || clean {
		return err
	}

	root, err := projectRoot()
	if err != nil {
		return err
	}
	syscall.Umask(0o022)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	s := newStage(root)
	began := time.Now()
	defer func() {
		if keep {
			s.sayf("\n%s", keptText(root))
			return
		}
		s.sayf("\nRemoving all that the demo made …")
		if left := removeAll(); left != nil {
			err = errors.Join(err, left)
			return
		}
		s.sayf("Done after %.0f s.", time.Since(began).Seconds())
	}()
	ssh, err := freePort(2222)
	if err != nil {
		return err
	}
	port, err := freePort(8080)
	if err != nil {
		return err
	}
	return s.play(ctx, session(root, ssh, port))
}

// projectRoot is where the programs were built.
func projectRoot() (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for _, program := range []string{"pgod", "pgo-worker", "pgoctl"} {
		if _, err := os.Stat(filepath.Join(root, "bin", program)); err != nil {
			return "", fmt.Errorf("%w; run `make demo`, which builds it", err)
		}
	}
	return root, nil
}

// freePort is the first port from this one on that nobody listens on.
func freePort(from int) (int, error) {
	for port := from; port < from+1000; port++ {
		listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no port from %d to %d is free", from, from+999)
}

func keptText(root string) string {
	return fmt.Sprintf(`KEEP is set: all of it stays. The commands above work in a shell after

  cd %[1]s; PATH=%[2]s/bin:$PATH

pgod's log is pgod.log there. The end of it all is

  cd %[2]s && go run ./test/demo -clean

or another make demo, which begins with that.`, dir, root)
}
