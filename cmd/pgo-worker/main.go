// Command pgo-worker does everything for one service, as that service's user. Only pgod starts
// it. It must not know what the worker does: it serves one and ends it on SIGTERM.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"pgo/internal/peer"
	"pgo/internal/version"
	"pgo/proto"
	"pgo/worker"
	"pgo/worker/sandbox"
)

// stopGrace is how long a worker may take to break off what it does. pgod kills it after 5 s.
const stopGrace = 4 * time.Second

func main() {
	sandbox.Main()
	if len(os.Args) == 2 && (os.Args[1] == "-v" || os.Args[1] == "--version") {
		fmt.Println("pgo-worker", version.String())
		return
	}
	if len(os.Args) >= 2 && os.Args[1] == proto.FindFlag {
		if err := find(strings.Join(os.Args[2:], " "), os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "pgo-worker:", err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(proto.Handshake.MagicCookieKey) != proto.Handshake.MagicCookieValue {
		fmt.Fprintln(os.Stderr, "pgo-worker is started by pgod, once for each service, and does nothing when started by hand. See pgod(8).")
		os.Exit(2)
	}
	serve()
}

func serve() {
	// Another process of its user must not read its secrets, or take part in its conversation
	// with pgod: by default a process may trace those of its user.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "pgo-worker: cannot protect itself from its user's other processes:", err)
		os.Exit(1)
	}
	// A worker is idle most of its life, and there are many: memory counts for more than the time
	// to collect it.
	debug.SetGCPercent(worker.IdleGC)
	// It does little itself, and one thing at a time: a second thread costs memory, and a look a
	// third more of CPU.
	runtime.GOMAXPROCS(1)

	// Before go-plugin takes standard error for its own purposes.
	log := hclog.New(&hclog.LoggerOptions{
		Name:       "worker",
		Level:      hclog.Debug, // pgod filters by its own level
		Output:     os.Stderr,
		JSONFormat: true,
	})
	if sandbox.Supported() == 0 {
		log.Warn("this kernel has no Landlock: compose can read whatever a compose file names and the service's user can read")
	}
	w := worker.New(log)
	pgod := os.Getppid() // as long as this process lives: it dies with pgod
	go stopOnTerm(w)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: proto.Handshake,
		Plugins:         plugin.PluginSet{proto.PluginName: &proto.Plugin{Worker: w}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.Creds(peer.Process(func() int { return pgod })), grpc.MaxRecvMsgSize(proto.MaxMessage),
				grpc.InitialWindowSize(proto.StreamWindow), grpc.InitialConnWindowSize(proto.ConnWindow))...)
		},
		Logger: hclog.NewNullLogger(),
	})
}

// stopOnTerm ends the process on SIGTERM: what compose is doing is broken off in order,
// containers stay as they are.
func stopOnTerm(w *worker.Worker) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	w.Close(ctx)
	os.Exit(0)
}
