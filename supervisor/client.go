package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	goplugin "github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pgo/internal/config"
	"pgo/internal/peer"
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

	neighbours *proto.Neighbours // those that it was configured with
}

// errand is what a worker is launched for.
type errand struct {
	account   func(context.Context) (account, error)     // who it runs as
	take      func(account) (giveBack func(), err error) // that user, until the worker is gone
	dir       func(account) (string, error)              // where, there and that user's own
	configure func(who account) *proto.ConfigureRequest  // all but the directory
	log       hclog.Logger
}

// errand is what a service's own worker is launched for.
func (s *Supervisor) errand(service config.Service, neighbours *proto.Neighbours, log hclog.Logger) errand {
	return errand{
		account: func(ctx context.Context) (account, error) {
			return lookupAccount(ctx, service.User, service.DockerHost == "")
		},
		take: func(who account) (func(), error) { return s.uids.serve(who.uid, service.Name) },
		dir: func(who account) (string, error) {
			dir, err := s.serviceDir(service, who)
			if err == nil {
				s.ran(service, who)
			}
			return dir, err
		},
		configure: func(who account) *proto.ConfigureRequest {
			c := configuration(service)
			c.Limits, c.Neighbours = s.limits(service, who), neighbours
			return c
		},
		log: log,
	}
}

// launch starts a worker for an errand and returns it when it is ready. When ctx
// ends, or anything is not as it should be, no process is left.
func (s *Supervisor) launch(ctx context.Context, e errand) (*process, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("the worker was not ready within %s", readyTimeout))
	defer cancel()
	account, err := e.account(ctx)
	if err != nil {
		return nil, err
	}
	giveBack, err := e.take(account)
	if err != nil {
		return nil, err
	}
	dir, err := e.dir(account)
	if err != nil {
		giveBack()
		return nil, err
	}
	configuration := e.configure(account)
	configuration.Dir = dir
	p := s.newProcess(account, e.log)
	p.neighbours = configuration.GetNeighbours()
	// go-plugin's start knows no context.
	stop := context.AfterFunc(ctx, p.runner.abort)
	defer stop()
	defer p.runner.whenGone(giveBack)
	if err := p.connect(ctx, account, configuration); err != nil {
		p.discard()
		return nil, errors.Join(context.Cause(ctx), err)
	}
	return p, nil
}

// maxHeaders bounds what stands around a worker's messages, its errors among that: bytes.
const maxHeaders = 64 << 10

// ownStreams lets pgo's own streams through, and none of go-plugin's. It begins two that
// nothing here uses, and keeps whatever a worker sends on one of them, without bounds.
func ownStreams(ctx context.Context, d *grpc.StreamDesc, c *grpc.ClientConn, method string, begin grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if strings.HasPrefix(method, "/plugin.") {
		return nil, status.Error(codes.Unimplemented, "pgo has no use for it")
	}
	return begin(ctx, d, c, method, opts...)
}

// newProcess is a worker that is yet to be started.
func (s *Supervisor) newProcess(account account, log hclog.Logger) *process {
	p := &process{log: log, since: time.Now()}
	p.runner = &runner{path: s.opts.Worker, account: account, stderr: func(r io.Reader) { copyLog(r, log) }}
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  proto.Handshake,
		Plugins:          plugin.PluginSet{proto.PluginName: &proto.Plugin{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		SkipHostEnv:      true,
		StartTimeout:     readyTimeout,
		Logger:           hclog.NewNullLogger(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: s.opts.SocketDir},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithTransportCredentials(peer.Process(p.pid)),
			grpc.WithStreamInterceptor(ownStreams), grpc.WithMaxHeaderListSize(maxHeaders),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(proto.MaxMessage)),
			grpc.WithInitialWindowSize(proto.StreamWindow), grpc.WithInitialConnWindowSize(proto.ConnWindow),
		},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, socket string) (goplugin.Runner, error) {
			p.runner.socket, p.runner.env = socket, spec.Env
			return p.runner, nil
		},
	})
	return p
}

// connect does the handshake, checks who answered, and configures the worker.
func (p *process) connect(ctx context.Context, account account, configuration *proto.ConfigureRequest) error {
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
	if err := p.verify(hello, account); err != nil {
		return err
	}
	if _, err := rpc.Configure(ctx, configuration); err != nil {
		return fmt.Errorf("cannot configure the worker: %w", err)
	}
	p.rpc = rpc
	return nil
}

// verify holds the worker's identity against the one it was started with:
// secrets and a repository's code are for the right user only.
func (p *process) verify(hello *proto.HelloReply, account account) error {
	groups := slices.Clone(hello.GetGroups())
	slices.Sort(groups)
	switch {
	case hello.GetVersion() != version.String():
		return fmt.Errorf("the worker is of version %q, pgod of %q: install both of one build", hello.GetVersion(), version.String())
	case hello.GetPid() != int64(p.pid()):
		return fmt.Errorf("process %d answered instead of %d", hello.GetPid(), p.pid())
	case hello.GetUid() != account.uid || hello.GetGid() != account.gid || !slices.Equal(groups, account.groups):
		return fmt.Errorf("the worker runs as %d:%d %v instead of %d:%d %v",
			hello.GetUid(), hello.GetGid(), groups, account.uid, account.gid, account.groups)
	}
	return nil
}

func (p *process) pid() int { return p.runner.group.Pid() }

// gone is closed when the process has ended.
func (p *process) gone() <-chan struct{} { return p.runner.group.Done() }

// ending is how the process ended, in words.
func (p *process) ending() error {
	err := p.runner.group.Wait()
	if err == nil {
		return errors.New("the worker ended by itself")
	}
	return fmt.Errorf("the worker ended: %w", err)
}

// watch calls the worker every heartbeatInterval. It returns true when that did
// not answer several times in a row, and false when it is gone.
func (p *process) watch(ctx context.Context) (silent bool) {
	ticker := time.NewTicker(heartbeatInterval)
	defer ticker.Stop()
	for misses := 0; misses < heartbeatMisses; {
		select {
		case <-ticker.C:
		case <-p.gone():
			return false
		}
		call, cancel := context.WithTimeout(ctx, heartbeatInterval)
		_, err := p.rpc.Ping(call, &proto.PingRequest{})
		cancel()
		if misses++; err == nil {
			misses = 0
		}
	}
	return true
}

// goneSoon tells whether the process ends within a moment: a broken connection
// is the first that is seen of that.
func (p *process) goneSoon() bool {
	return wait.Until(p.gone(), goneGrace)
}

// dumpAndKill ends a worker that does not answer. What its goroutines were at
// goes to the log.
func (p *process) dumpAndKill() {
	p.runner.group.Signal(syscall.SIGQUIT)
	if !wait.Until(p.gone(), dumpGrace) {
		p.runner.group.Signal(syscall.SIGKILL)
	}
}

// drain lets the worker end the change that runs, for as long as ctx, then ends
// the process.
func (p *process) drain(ctx context.Context) {
	if _, err := p.rpc.Drain(ctx, &proto.DrainRequest{}); err != nil {
		p.log.Warn("a change is broken off", "error", loggable(err))
	}
	p.runner.group.Stop(termGrace)
}

// discard kills what is left of the process and has go-plugin clean up, which
// can take its time.
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

// serviceDir returns the service's directory, made if it is missing. Root goes
// no further than to it: what is inside is the user's.
func (s *Supervisor) serviceDir(service config.Service, account account) (string, error) {
	dir := s.dirOf(service.Name)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("cannot make the service's directory: %w", err)
	}
	if err := s.comeBack(service, account); err != nil {
		return "", err
	}
	return dir, handDir(dir, account)
}

// handDir makes a worker's directory, if it is missing, and hands it over to the
// worker's user.
func handDir(dir string, account account) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) && account.uid != 0 && ownedBy(dir, 0) && unix.Rmdir(dir) == nil {
		// It was empty: a pgod that was killed had not handed it over yet.
		err = os.Mkdir(dir, 0o700)
	}
	if err == nil {
		err = os.Lchown(dir, int(account.uid), int(account.gid))
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("cannot make a worker's directory: %w", err)
	}
	var info unix.Stat_t
	if err := unix.Lstat(dir, &info); err != nil {
		return fmt.Errorf("cannot look at a worker's directory: %w", err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR || info.Uid != account.uid {
		return fmt.Errorf("%s does not belong to its user but to uid %d: hand over what is that user's with `chown -R --from=%d %d:%d %s`, or move it away",
			dir, info.Uid, info.Uid, account.uid, account.gid, dir)
	}
	return nil
}

func ownedBy(dir string, uid uint32) bool {
	var info unix.Stat_t
	return unix.Lstat(dir, &info) == nil && info.Uid == uid
}

// configuration is a service's entry as its worker gets it, without where it is to work.
func configuration(s config.Service) *proto.ConfigureRequest {
	r := &proto.ConfigureRequest{
		Name:       s.Name,
		Repository: s.Repository.Reveal(),
		Branch:     s.Branch,
		Compose:    s.Compose,
		Profiles:   s.Profiles,
		Ignore:     s.Ignore,
		GitKey:     []byte(s.GitKey.Reveal()),
		IntervalMs: s.Interval.Milliseconds(),
		TimeoutMs:  s.Timeout.Milliseconds(),
		InPlace:    s.Deploy == config.InPlace,
		Rollback:   s.Rollback,
		GateMs:     s.Gate.Milliseconds(),
		DockerHost: s.DockerHost,
		Proxy:      proxyOf(s),
		Routes:     routesOf(s),
	}
	for _, v := range s.Env {
		r.Env = append(r.Env, v.Name+"="+v.Value.Reveal())
	}
	for _, registry := range s.Registries {
		r.Registries = append(r.Registries, &proto.Registry{
			Host: registry.Host, User: registry.User, Password: registry.Password.Reveal(),
		})
	}
	return r
}

// limits is what the operator grants to the service.
func (s *Supervisor) limits(service config.Service, account account) *proto.Limits {
	return &proto.Limits{
		Root:      account.uid == 0,
		Ports:     proto.PortRanges(service.Ports),
		Networks:  service.Networks,
		Allow:     service.Allow,
		Forbidden: append([]string{s.opts.Dir, s.opts.SocketDir}, s.opts.Forbidden...),
	}
}
