// Package supervisor runs one worker process per service. It knows the services and who may use
// which, and passes operations on to the workers.
package supervisor

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/semaphore"

	"pgo/internal/config"
)

// DrainTimeout is how long a change may continue when its worker is to end.
const DrainTimeout = 10 * time.Second

// judgeTimeout bounds how long a login waits for workers that have just been started to report
// their keys.
const judgeTimeout = 5 * time.Second

// Options are what a Supervisor is made of; immutable.
type Options struct {
	Dir       string   // persistent data; has services/<name>
	SocketDir string   // for the workers' sockets, used by this pgod alone
	Worker    string   // path of pgo-worker
	Forbidden []string // what else is pgo's own, and must not be mounted by a container
	Logger    hclog.Logger

	// Configuration is where the services' entries are, a path or a URL without secrets: services
	// of another one are not removed at the start.
	Configuration string
}

// Supervisor holds the instances and the removals. It implements sshd.Backend.
type Supervisor struct {
	Configuration *Configuration // what is known about it

	opts     Options
	data     *dataDir
	records  *records // of services that are or were configured
	lastKeys *lastKeys
	launcher *launcher
	host     *host
	grace    time.Duration // removalGrace, except in tests

	switchboard switchboard

	operators keyring        // who may do everything
	lives     sync.WaitGroup // of the instances and watchPorts; added to only by New, under mu while not closing, or by Close
	ending    chan struct{}  // closed when Close begins

	mu        sync.Mutex // guards what follows
	instances map[string]*instance
	removals  map[string]*removal // of services that were configured once; one may be in instances again
	earlier   map[string]bool     // services of an earlier pgod; nil: nobody has looked yet
	kept      []string            // those of them that nobody may remove unasked
	spared    map[string]bool     // those of them that were logged as being for other machines
	sshPort   int                 // what pgod listens at; 0: not known yet
	closing   bool
}

// New creates the directories and claims them for this process.
func New(opts Options) (*Supervisor, error) {
	data, err := openDataDir(opts.Dir, opts.Logger)
	if err != nil {
		return nil, err
	}
	sockets := &socketDir{path: opts.SocketDir}
	if err = sockets.hold(); err == nil {
		err = emptySocketDir(sockets.path, opts.Logger)
	}
	if err != nil {
		data.close()
		return nil, err
	}
	s := &Supervisor{
		Configuration: &Configuration{},
		opts:          opts, data: data, records: openRecords(opts.Dir, opts.Logger), lastKeys: openLastKeys(opts.Dir, opts.Logger), grace: removalGrace,
		ending: make(chan struct{}), instances: map[string]*instance{}, removals: map[string]*removal{}, spared: map[string]bool{},
	}
	s.launcher = &launcher{opts: opts, data: data, sockets: sockets, records: s.records, lastKeys: s.lastKeys, lookups: semaphore.NewWeighted(mostLookups), starts: semaphore.NewWeighted(mostStarts())}
	s.launcher.connect = s.connect
	s.lives.Go(s.watchPorts)
	s.host = &host{supervisor: s, configuration: s.Configuration}
	return s, nil
}

// Apply makes the configuration's services the ones that run, and the operator keys the ones that
// count. A service whose entry is the same keeps its worker, which is told what else has changed
// on the host; one whose entry changed gets a new worker; one without an entry is removed: its
// containers are taken down, and its directory is moved away. sshPort is what pgod listens at.
// Apply does nothing while pgod is stopping.
func (s *Supervisor) Apply(services []config.Service, operators []ssh.PublicKey, sshPort int) Changes {
	defer s.connect()
	return s.apply(services, operators, sshPort)
}

// connect connects the services with the proxies.
func (s *Supervisor) connect() { s.switchboard.connect(s.all) }

func (s *Supervisor) apply(services []config.Service, operators []ssh.PublicKey, sshPort int) Changes {
	s.mu.Lock()
	defer s.mu.Unlock()
	var changes Changes
	if s.closing {
		return changes
	}
	s.survey()
	s.sshPort = sshPort
	appointed := map[string]bool{}
	for _, key := range operators {
		appointed[string(key.Marshal())] = true
	}
	s.operators.replace(appointed)
	configured := map[string]bool{}
	for _, service := range services {
		configured[service.Name] = true
		neighbours := neighboursOf(service, services, sshPort)
		old := s.instances[service.Name]
		if old != nil && old.service.Equal(service) {
			old.neighbours.configure(neighbours)
			changes.Unchanged = append(changes.Unchanged, service.Name)
			continue
		}
		changes.replaced(service.Name, old != nil)
		leaving := s.removals[service.Name] // two workers must never share a directory
		if leaving != nil && old == nil {
			old = leaving.old
		}
		next := newInstance(s.launcher, service, neighbours)
		if old != nil && old.service.Repository.Reveal() == service.Repository.Reveal() && old.service.Branch == service.Branch {
			next.view.inherit(old.view)
		}
		s.replace(old, leaving, next)
	}
	s.records.claim(services, s.opts.Configuration)
	for name, old := range s.instances {
		if !configured[name] {
			old.log.Warn("the service is not configured any more: its worker ends, and its containers are taken down")
			delete(s.instances, name)
			s.remove(name, old)
			changes.Removed = append(changes.Removed, name)
		}
	}
	changes.sort()
	s.Configuration.accepted()
	return changes
}

// replace ends the old instance and the removal, if any, and then starts the new instance. The
// lock is held.
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

// Close ends all workers. Running changes may continue until ctx ends. Containers are not
// touched.
func (s *Supervisor) Close(ctx context.Context) {
	s.mu.Lock()
	if !s.closing {
		close(s.ending)
	}
	s.closing = true
	for _, r := range s.removals {
		r.cancel()
	}
	s.mu.Unlock()
	for _, i := range s.all() { // no more are added
		s.lives.Go(func() { i.stop(ctx) })
	}
	s.lives.Wait()
	s.records.close()
	s.lastKeys.write()
	s.launcher.sockets.remove(s.opts.Logger)
	s.data.close()
}

// all returns the instances, sorted by name.
func (s *Supervisor) all() []*instance {
	s.mu.Lock()
	defer s.mu.Unlock()
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

// listensAt returns pgod's own port, 0 if it is not known yet.
func (s *Supervisor) listensAt() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sshPort
}

func (s *Supervisor) isEnding() bool {
	select {
	case <-s.ending:
		return true
	default:
		return false
	}
}
