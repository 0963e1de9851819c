package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	goplugin "github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pgo/internal/config"
	"pgo/internal/peer"
	"pgo/proto"
)

// launcher starts workers: as which user, in which directory and with which configuration. It
// does not supervise them afterwards.
type launcher struct {
	opts     Options
	data     *dataDir
	sockets  *socketDir
	records  *records
	lastKeys *lastKeys
	uids     uids                // of the running workers
	accounts accounts            // of those that start
	lookups  *semaphore.Weighted // how many users may be looked up at a time
	starts   *semaphore.Weighted // how many workers may be starting
	connect  func()              // connects services with proxies, after a report
}

// mostLookups is how many users are looked up at a time. More than workers may start: a name
// service on the network is slow without having to compute.
const mostLookups = 16

// mostStarts returns how many workers may be starting at a time. More of them are not ready
// sooner, and each takes longer than it may.
func mostStarts() int64 { return max(4, 2*int64(runtime.NumCPU())) }

// errand is what a worker is launched for.
type errand struct {
	account   func(context.Context) (account, error)     // the user that it runs as
	take      func(account) (giveBack func(), err error) // reserves that user until the worker is gone
	dir       func(account) (string, error)              // an existing directory that belongs to that user
	configure func(who account) *proto.ConfigureRequest  // all but the directory
	log       hclog.Logger
	atOnce    bool // it does not wait for the starts of others
}

// errand returns the errand of a service's own worker. lost is called if the service had a
// directory, and that is gone.
func (l *launcher) errand(service config.Service, neighbours *proto.Neighbours, log hclog.Logger, lost func()) errand {
	return errand{
		account: func(ctx context.Context) (account, error) {
			return l.accounts.lookup(ctx, service.User, service.DockerHost == "")
		},
		take: func(who account) (func(), error) { return l.uids.serve(who.uid, service.Name) },
		dir: func(who account) (string, error) {
			had := l.records.get(service.Name).known() && absent(l.data.service(service.Name))
			dir, err := l.serviceDir(service, who)
			if err == nil {
				if had {
					lost()
				}
				l.records.launched(service, who, l.opts.Configuration)
			}
			return dir, err
		},
		configure: func(who account) *proto.ConfigureRequest {
			r := configureRequest(service)
			r.Limits, r.Neighbours = l.limits(service, who), neighbours
			return r
		},
		log: log,
	}
}

// launch starts a worker for an errand, when its turn comes, and returns it when it is ready. If
// ctx ends or anything fails, no process is left.
func (l *launcher) launch(ctx context.Context, e errand) (*process, error) {
	who, err := l.identify(ctx, e)
	if err != nil {
		return nil, err
	}
	if !e.atOnce {
		if err := l.starts.Acquire(ctx, 1); err != nil {
			return nil, context.Cause(ctx)
		}
		defer l.starts.Release(1)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("the worker was not ready within %s", readyTimeout))
	defer cancel()
	giveBack, err := e.take(who)
	if err != nil {
		return nil, err
	}
	dir, err := e.dir(who)
	if err != nil {
		giveBack()
		return nil, err
	}
	request := e.configure(who)
	request.Dir = dir
	p := l.newProcess(who, e.log)
	p.dir = placeOf(dir)
	p.neighbours = request.GetNeighbours()
	// go-plugin's start does not take a context.
	stop := context.AfterFunc(ctx, p.runner.abort)
	defer stop()
	defer p.runner.whenGone(giveBack)
	if err := p.connect(ctx, who, request); err != nil {
		p.discard()
		return nil, errors.Join(context.Cause(ctx), err)
	}
	return p, nil
}

// identify returns the user that a worker will run as.
func (l *launcher) identify(ctx context.Context, e errand) (account, error) {
	if err := l.lookups.Acquire(ctx, 1); err != nil {
		return account{}, context.Cause(ctx)
	}
	defer l.lookups.Release(1)
	return e.account(ctx)
}

// maxHeaders bounds the headers of a worker's messages, errors included, in bytes.
const maxHeaders = 64 << 10

// ownStreams allows pgo's own streams, and none of go-plugin's. go-plugin opens two that pgo does
// not use, and buffers whatever a worker sends on one of them, without bounds.
func ownStreams(ctx context.Context, d *grpc.StreamDesc, c *grpc.ClientConn, method string, begin grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if strings.HasPrefix(method, "/plugin.") {
		return nil, status.Error(codes.Unimplemented, "pgo does not use it")
	}
	return begin(ctx, d, c, method, opts...)
}

// newProcess returns a worker that is yet to be started.
func (l *launcher) newProcess(who account, log hclog.Logger) *process {
	_ = l.sockets.hold() // if it cannot be made again, the start fails and says so
	p := &process{log: log, since: time.Now()}
	p.meter = newMeter(func() {
		log.Error("the worker sends far more than it has to say: killing it", "pid", p.pid())
		p.runner.abort()
	})
	p.runner = &runner{path: l.opts.Worker, account: who, stderr: func(ctx context.Context, r io.Reader) { copyLog(ctx, r, log) }}
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  proto.Handshake,
		Plugins:          plugin.PluginSet{proto.PluginName: &proto.Plugin{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		SkipHostEnv:      true,
		StartTimeout:     readyTimeout,
		Logger:           hclog.NewNullLogger(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: l.opts.SocketDir},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithTransportCredentials(meteredCredentials{peer.Process(p.pid), p.meter}),
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

// serviceDir returns the service's directory, which it creates if it is missing. Root does not
// look inside: the content belongs to the user.
func (l *launcher) serviceDir(service config.Service, user account) (string, error) {
	dir := l.data.service(service.Name)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("cannot create the service's directory: %w", err)
	}
	if err := l.data.comeBack(service, user); err != nil {
		return "", err
	}
	return dir, handDir(dir, user)
}

// limits is what the operator grants to the service.
func (l *launcher) limits(service config.Service, user account) *proto.Limits {
	return &proto.Limits{
		Root:      user.uid == 0,
		Ports:     proto.PortRanges(service.Ports),
		Networks:  service.Networks,
		Allow:     service.Allow,
		Forbidden: append([]string{l.opts.Dir, l.opts.SocketDir}, l.opts.Forbidden...),
	}
}

// owner returns the owner of the service's directory and the record of that owner, which is empty
// if the record is about another user.
func (l *launcher) owner(ctx context.Context, name string) (owner uint32, known record, err error) {
	dir := l.data.service(name)
	var info unix.Stat_t
	if err := unix.Lstat(dir, &info); err != nil {
		return 0, record{}, fmt.Errorf("cannot look at the service's directory: %w", err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR {
		return 0, record{}, fmt.Errorf("%s is not a directory: move it away", dir)
	}
	known = l.records.get(name)
	if !known.known() || known.UID != info.Uid {
		return info.Uid, record{}, nil
	}
	same, err := sameUser(ctx, known.User, known.UID)
	if err != nil || !same {
		return info.Uid, record{}, err
	}
	return info.Uid, known, nil
}
