// Package supervisor runs one worker process per service and answers for them:
// it knows the set of services, who may use which, and passes operations on.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"pgo/internal/config"
)

// DrainTimeout is how long a change may run on when its worker is to end.
const DrainTimeout = 10 * time.Second

// judgeTimeout bounds how long a login waits for workers that have just been
// started to tell their keys.
const judgeTimeout = 5 * time.Second

// Options are what a Supervisor is made of; immutable.
type Options struct {
	Dir       string   // what outlives pgod; services/<name> are in there
	SocketDir string   // for the workers' sockets, of this pgod alone
	Worker    string   // path of pgo-worker
	Forbidden []string // what else is pgo's own, and mounted by no container
	Logger    hclog.Logger

	// Configuration is where the services' entries are, a path or a URL without
	// secrets: what is of another one is not removed at the start.
	Configuration string
}

// Supervisor holds the instances. It implements sshd.Backend.
type Supervisor struct {
	opts  Options
	lock  *os.File      // held as long as the process lives
	notes *notebook     // of services that were configured once
	grace time.Duration // removalGrace, but for tests

	lives sync.WaitGroup // of the instances; added to only under mu while not closing, or by Close

	reloads     reloads
	uids        uids                       // of whoever runs
	connections atomic.Pointer[func() int] // nil: nobody can tell
	ending      chan struct{}              // closed when Close begins

	mu          sync.Mutex // guards what follows
	instances   map[string]*instance
	removals    map[string]*removal // of services that were configured once; one may be in instances again
	operators   map[string]bool     // public keys by wire form
	reappointed chan struct{}       // closed when operators is replaced
	sshPort     int                 // what pgod listens at; 0: not known yet
	closing     bool
}

// New makes the directories and takes them for this process alone.
func New(opts Options) (*Supervisor, error) {
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
		return nil, err
	}
	if err := checkDir(opts.Dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(opts.Dir)
	if err != nil {
		return nil, err
	}
	if err := makeSocketDir(opts.SocketDir, opts.Logger); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &Supervisor{
		opts: opts, lock: lock, notes: openNotebook(opts.Dir, opts.Logger), grace: removalGrace,
		instances: map[string]*instance{}, removals: map[string]*removal{},
		reappointed: make(chan struct{}), ending: make(chan struct{}),
	}, nil
}

// checkDir refuses a directory in which somebody else could replace the host
// key, or have root follow a symlink: in /tmp anybody may make it first.
func checkDir(dir string) error {
	var itself, leadsTo unix.Stat_t
	if err := errors.Join(unix.Lstat(dir, &itself), unix.Stat(dir, &leadsTo)); err != nil {
		return fmt.Errorf("cannot look at %s: %w", dir, err)
	}
	me := uint32(os.Geteuid())
	if itself.Uid != me || leadsTo.Uid != me || leadsTo.Mode&0o022 != 0 {
		return fmt.Errorf("cannot trust %s: it must belong to root, and nobody else may write to it; chown and chmod it, or name another with -d", dir)
	}
	return nil
}

// lockDir keeps a second pgod away from the same directory.
func lockDir(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("another pgod uses %s: stop it, or give this one a directory of its own with -d", dir)
	}
	return lock, nil
}

// Apply makes the configuration's services the ones that run, and the operator
// keys the ones that count. A service whose entry is the same keeps its worker,
// which is told what has changed beside it; one whose entry changed gets a new
// worker, and one that is not there any more is removed: its containers are taken down,
// and its directory is moved away. sshPort is what pgod listens at. While pgod is
// stopping nothing changes.
func (s *Supervisor) Apply(services []config.Service, operators []ssh.PublicKey, sshPort int) Changes {
	s.mu.Lock()
	defer s.mu.Unlock()
	var changes Changes
	if s.closing {
		return changes
	}
	s.sshPort = sshPort
	s.operators = map[string]bool{}
	for _, key := range operators {
		s.operators[string(key.Marshal())] = true
	}
	close(s.reappointed)
	s.reappointed = make(chan struct{})
	configured := map[string]bool{}
	for _, service := range services {
		configured[service.Name] = true
		neighbours := neighbours(service, services, sshPort)
		old := s.instances[service.Name]
		if old != nil && old.service.Equal(service) {
			old.neighbours.set(neighbours)
			changes.Unchanged = append(changes.Unchanged, service.Name)
			continue
		}
		changes.replaced(service.Name, old != nil)
		leaving := s.removals[service.Name] // two workers must never share a directory
		if leaving != nil && old == nil {
			old = leaving.old
		}
		next := newInstance(s, service, neighbours)
		if old != nil && old.service.Repository.Reveal() == service.Repository.Reveal() && old.service.Branch == service.Branch {
			next.view.inherit(old.view)
		}
		s.replace(old, leaving, next)
	}
	s.claim(services)
	for name, old := range s.instances {
		if !configured[name] {
			old.log.Warn("the service is not configured any more: its worker ends, and its containers are taken down")
			delete(s.instances, name)
			s.remove(name, old)
			changes.Removed = append(changes.Removed, name)
		}
	}
	changes.sort()
	s.reloads.accepted()
	return changes
}

// replace ends the old instance and the removal, if there are such, and then begins the
// new instance. The lock is held.
func (s *Supervisor) replace(old *instance, leaving *removal, next *instance) {
	s.instances[next.service.Name] = next
	s.lives.Go(func() {
		if leaving != nil {
			leaving.stop()
		}
		if old != nil {
			ctx, cancel := context.WithTimeout(context.Background(), DrainTimeout)
			defer cancel()
			old.stop(ctx)
		}
		next.run()
	})
}

// Close ends all workers: changes that run may go on until ctx ends. Containers
// are not touched.
func (s *Supervisor) Close(ctx context.Context) {
	s.mu.Lock()
	if !s.closing {
		close(s.ending)
	}
	s.closing = true
	instances := s.all()
	for _, r := range s.removals {
		r.cancel()
	}
	s.mu.Unlock()
	for _, i := range instances {
		s.lives.Go(func() { i.stop(ctx) })
	}
	s.lives.Wait()
	s.notes.close()
	_ = emptySocketDir(s.opts.SocketDir, s.opts.Logger)
	_ = os.Remove(s.opts.SocketDir)
	_ = s.lock.Close()
}

// all returns the instances by name. The lock is held.
func (s *Supervisor) all() []*instance {
	var all []*instance
	for _, i := range s.instances {
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b *instance) int { return strings.Compare(a.service.Name, b.service.Name) })
	return all
}

// instance returns the named service's instance, or nil.
func (s *Supervisor) instance(name string) *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.instances[name]
}

func (s *Supervisor) isOperator(key ssh.PublicKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.operators[string(key.Marshal())]
}
