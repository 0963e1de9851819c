package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"pgo/internal/printable"
	"pgo/internal/version"
	"pgo/internal/wait"
	"pgo/proto"
)

// How a worker is started and watched.
const (
	readyTimeout      = 10 * time.Second // from the start to ready
	heartbeatInterval = 10 * time.Second
	heartbeatMisses   = 3
	goneGrace         = time.Second     // between a broken connection and the process's end
	dumpGrace         = time.Second     // for SIGQUIT's dump, before SIGKILL
	termGrace         = 5 * time.Second // between SIGTERM and SIGKILL
)

// process is one worker process from its start to its end.
type process struct {
	runner *runner
	client *plugin.Client
	rpc    proto.WorkerClient
	log    hclog.Logger
	since  time.Time
	dir    place // where it works
	meter  *meter

	neighbours *proto.Neighbours // those that it was configured with
}

// connect does the handshake, verifies the worker's identity, and configures it.
func (p *process) connect(ctx context.Context, who account, request *proto.ConfigureRequest) error {
	client, err := p.client.Client()
	if err != nil {
		return fmt.Errorf("cannot start the worker: %w", err)
	}
	raw, err := client.Dispense(proto.PluginName)
	if err != nil {
		return fmt.Errorf("cannot reach the worker: %w", err)
	}
	rpc, ok := raw.(proto.WorkerClient)
	if !ok {
		return fmt.Errorf("go-plugin dispensed a %T", raw)
	}
	hello, err := rpc.Hello(ctx, &proto.HelloRequest{})
	if err != nil {
		return fmt.Errorf("cannot greet the worker: %w", err)
	}
	if err := p.verify(hello, who); err != nil {
		return err
	}
	if _, err := rpc.Configure(ctx, request); err != nil {
		return fmt.Errorf("cannot configure the worker: %w", err)
	}
	p.rpc = rpc
	return nil
}

// verify checks the worker's identity against the one that it was started with: secrets and a
// repository's code are for the right user only.
func (p *process) verify(hello *proto.HelloReply, who account) error {
	groups := slices.Clone(hello.GetGroups())
	slices.Sort(groups)
	switch {
	case hello.GetVersion() != version.String():
		return fmt.Errorf("the worker has version %q, pgod has %q: install both from one build", hello.GetVersion(), version.String())
	case hello.GetPid() != int64(p.pid()):
		return fmt.Errorf("process %d answered instead of %d", hello.GetPid(), p.pid())
	case hello.GetUid() != who.uid || hello.GetGid() != who.gid || !slices.Equal(groups, who.groups):
		return fmt.Errorf("the worker runs as %d:%d %v instead of %d:%d %v",
			hello.GetUid(), hello.GetGid(), groups, who.uid, who.gid, who.groups)
	}
	return nil
}

func (p *process) pid() int { return p.runner.group.Pid() }

// gone is closed when the process has ended.
func (p *process) gone() <-chan struct{} { return p.runner.group.Done() }

// ending returns how the process ended.
func (p *process) ending() error {
	err := p.runner.group.Wait()
	if p.meter.flooded() {
		return errFlood
	}
	if err == nil {
		return errors.New("the worker ended by itself")
	}
	return fmt.Errorf("the worker ended: %w", err)
}

// watch pings the worker every heartbeatInterval, and looks whether it still has its directory. It
// returns what is wrong after several missed answers in a row or without the directory, and nil
// when the worker is gone.
func (p *process) watch(ctx context.Context) event {
	ticker := time.NewTicker(heartbeatInterval)
	defer ticker.Stop()
	for misses := 0; misses < heartbeatMisses; {
		select {
		case <-ticker.C:
		case <-p.gone():
			return nil
		}
		if p.dir.lost() {
			return displaced{p}
		}
		call, cancel := context.WithTimeout(ctx, heartbeatInterval)
		_, err := p.rpc.Ping(call, &proto.PingRequest{})
		cancel()
		if misses++; err == nil {
			misses = 0
		}
	}
	return silent{p}
}

// goneSoon reports whether the process ends within a moment: a broken connection is the first
// sign of that.
func (p *process) goneSoon() bool {
	return wait.Until(p.gone(), goneGrace)
}

// dumpAndKill ends a worker that does not answer. The stacks of its goroutines go to the log.
func (p *process) dumpAndKill() {
	p.runner.group.Signal(syscall.SIGQUIT)
	if !wait.Until(p.gone(), dumpGrace) {
		p.runner.group.Signal(syscall.SIGKILL)
	}
}

// drain lets the worker finish the running change until ctx ends, then ends the process.
func (p *process) drain(ctx context.Context) {
	if _, err := p.rpc.Drain(ctx, &proto.DrainRequest{}); err != nil {
		p.log.Warn("the running change is interrupted", "error", loggable(err))
	}
	p.runner.group.Stop(termGrace)
}

// discard kills what is left of the process and has go-plugin clean up, which can take a while.
func (p *process) discard() {
	p.runner.abort()
	go func() {
		if p.runner.socket != "" {
			if err := discardSockets(p.runner.socket); err != nil {
				p.log.Warn("cannot remove the worker's sockets", "error", printable.Line(err.Error()))
			}
		}
		p.client.Kill()
	}()
}
