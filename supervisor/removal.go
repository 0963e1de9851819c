package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/status"

	"pgo/internal/hoststat"
	"pgo/internal/printable"
	"pgo/internal/wait"
	"pgo/proto"
)

// removeTimeout bounds one attempt to take down a service.
const removeTimeout = 10 * time.Minute

// removalGrace is the delay between the end of a service's worker and the service's removal: a
// configuration that somebody is writing may lack half of its entries for a moment.
const removalGrace = 10 * time.Second

// removal takes down a service that is no longer configured, and then moves its directory away.
// It tries until that succeeds or the service is configured again.
type removal struct {
	supervisor *Supervisor
	name       string
	old        *instance // its worker ends first; nil: there is none
	log        hclog.Logger
	since      time.Time

	ctx    context.Context // ends when the removal is not wanted any more
	cancel context.CancelFunc
	done   chan struct{} // closed when the removal has ended, either way

	mu  sync.Mutex // guards what follows
	err error      // of the last attempt; nil: none has failed
}

// remove begins to remove a service. The lock is held.
func (s *Supervisor) remove(name string, old *instance) {
	r := &removal{
		supervisor: s, name: name, old: old, since: time.Now(),
		log: s.opts.Logger.With("service", name), done: make(chan struct{}),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	s.removals[name] = r
	delete(s.earlier, name)
	s.records.leave(name)
	s.lives.Go(r.run)
}

func (r *removal) run() {
	defer r.cancel()
	removed := r.tryUntilDone()
	s := r.supervisor
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removals[r.name] == r {
		delete(s.removals, r.name)
		if removed && s.instances[r.name] == nil {
			s.records.forget(r.name)
			s.lastKeys.forget(r.name)
		}
	}
	close(r.done)
}

// tryUntilDone reports whether the service was removed.
func (r *removal) tryUntilDone() bool {
	if r.old != nil {
		ctx, cancel := context.WithTimeout(context.Background(), DrainTimeout)
		defer cancel()
		r.old.stop(ctx)
	}
	_ = wait.For(r.ctx, r.supervisor.grace)
	var tries restarts
	for r.ctx.Err() == nil {
		to, err := r.try()
		if err == nil {
			r.log.Info("the service is removed: its directory and its volumes are kept", "directory", cmp.Or(to, "-"))
			return true
		}
		if r.ctx.Err() != nil {
			break
		}
		delay := tries.next(0)
		if r.failed(err) {
			r.log.Error("cannot remove the service: it is tried again", "error", err)
		}
		_ = wait.For(r.ctx, delay)
	}
	return false
}

// failed notes the error of an attempt, and reports whether it is a new one.
func (r *removal) failed(err error) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	news = r.err == nil || r.err.Error() != err.Error()
	r.err = err
	return news
}

// trouble returns the error of the last attempt, safe to print; empty: none has failed.
func (r *removal) trouble() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		return ""
	}
	return printable.Line(r.err.Error())
}

// stop ends the removal and returns when it has ended. A running attempt may continue for a
// while: a service that is only half taken down helps nobody.
func (r *removal) stop() {
	r.cancel()
	<-r.done
}

// try has a worker of the service's own user take down its containers, and then moves its
// directory away.
func (r *removal) try() (to string, err error) {
	s := r.supervisor
	dir := s.data.service(r.name)
	if info, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) || err == nil && info.IsDir() && ownedBy(dir, 0) && os.Remove(dir) == nil {
		return "", nil // no worker has ever worked in it
	}
	owner, known, err := s.launcher.owner(r.ctx, r.name)
	if err != nil {
		return "", err
	}
	p, err := s.launcher.launch(r.ctx, r.errand(dir, owner, known))
	if err != nil {
		return "", err
	}
	defer p.discard()
	call, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), removeTimeout)
	defer cancel()
	defer context.AfterFunc(r.ctx, func() { time.AfterFunc(DrainTimeout, cancel) })()
	_, err = p.rpc.Remove(call, &proto.RemoveRequest{})
	p.runner.group.Stop(termGrace)
	switch {
	case err != nil:
		return "", cannotRemove(errors.New(status.Convert(err).Message()), owner, known)
	case r.ctx.Err() != nil:
		return "", r.ctx.Err()
	}
	return s.data.moveAway(r.name, known.Source, time.Now())
}

// cannotRemove adds what to do if the worker had no engine to take the service down on.
func cannotRemove(err error, owner uint32, known record) error {
	if known.known() {
		return err
	}
	return fmt.Errorf("%w; pgod does not know which engine was used by uid %d, which owns the directory: configure the service again as it was, and take it out when its worker is ready", err, owner)
}

// errand returns the errand of the worker that takes the service down.
func (r *removal) errand(dir string, owner uint32, known record) errand {
	s := r.supervisor
	return errand{
		account: func(ctx context.Context) (account, error) { return known.account(ctx, owner) },
		take:    func(who account) (func(), error) { return s.launcher.uids.serve(who.uid, r.name) },
		dir:     func(account) (string, error) { return dir, nil },
		configure: func(account) *proto.ConfigureRequest {
			return &proto.ConfigureRequest{
				Name: r.name, Purpose: proto.ConfigureRequest_PURPOSE_REMOVAL, DockerHost: known.DockerHost,
				TimeoutMs: removeTimeout.Milliseconds(),
			}
		},
		log: r.log,
	}
}

// removing returns the services that are being removed, sorted by name.
func (s *Supervisor) removing() []hoststat.Removing {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []hoststat.Removing
	for _, r := range s.removals {
		if s.instances[r.name] == nil { // not one that is configured again
			all = append(all, hoststat.Removing{Service: r.name, Since: r.since.UTC().Truncate(time.Second), Error: r.trouble()})
		}
	}
	slices.SortFunc(all, func(a, b hoststat.Removing) int { return strings.Compare(a.Service, b.Service) })
	return all
}

// isRemoving reports whether the service is being removed, and what prevents that.
func (s *Supervisor) isRemoving(name string) (trouble string, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.removals[name]
	if r == nil {
		return "", false
	}
	return r.trouble(), true
}
