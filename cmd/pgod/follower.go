package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/go-hclog"

	"pgo/internal/config"
	"pgo/supervisor"
)

// rejoin is how long a configuration from git may be out of the local files, and still be
// what was in force last when it comes back: the local file may have been half written.
const rejoin = 10 * time.Minute

// follower follows the branch that the configuration is in.
type follower struct {
	upstream config.Upstream
	fetcher  interface {
		Fetch(context.Context) (supervisor.Fetched, error)
		Close()
	}
	path string // of the file with what was in force last
	log  hclog.Logger
	show func(*supervisor.Upstream)

	ctx    context.Context // ends when the branch is not followed any more
	cancel context.CancelFunc
	turn   chan struct{} // holds one while nobody fetches
	asked  chan struct{} // holds one when run is to fetch now

	mu      sync.Mutex          // guards what follows
	newest  *supervisor.Fetched // nil: nothing was fetched by this pgod
	good    *kept               // what is or was in force last; nil: nothing ever was
	saved   bool                // good is on disk
	inForce bool                // good is in force now
	shown   supervisor.Upstream
}

// kept is a configuration from git that is, or was, in force: a restart without network
// goes on with it.
type kept struct {
	From    string    `json:"from"`
	Applied time.Time `json:"applied"`
	Left    time.Time `json:"left,omitzero"` // when the local files did not want it any more
	supervisor.Fetched
}

// follow returns a follower that has read what was in force last.
func follow(workers *supervisor.Supervisor, upstream config.Upstream, dir string, log hclog.Logger) *follower {
	f := &follower{
		upstream: upstream, fetcher: workers.NewFetcher(upstream), path: filepath.Join(dir, "configuration.json"),
		log: log, show: workers.ShowUpstream, turn: make(chan struct{}, 1), asked: make(chan struct{}, 1),
	}
	f.turn <- struct{}{}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	// Where it is, for people and to tell it from another; the token is no part of that.
	f.shown.From = fmt.Sprintf("%s//%s, branch %s", upstream.Repository, upstream.Path, upstream.Branch)
	f.recall()
	f.tell()
	return f
}

// recall reads what was in force last.
func (f *follower) recall() {
	raw, err := os.ReadFile(f.path)
	var last kept
	if err == nil {
		err = json.Unmarshal(raw, &last)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		f.log.Warn("cannot read the configuration that was in force last: it is fetched", "error", err)
	case last.From == f.shown.From && (last.Left.IsZero() || time.Since(last.Left) < rejoin):
		f.good, f.saved = &last, last.Left.IsZero()
		f.good.Left = time.Time{}
	}
}

// stop ends all that the follower does.
func (f *follower) stop() {
	f.cancel()
	f.fetcher.Close()
}

// leave notes that the configuration is not wanted any more: it must not come back to life
// with its entry, however old it is by then.
func (f *follower) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.good != nil {
		f.good.Left = time.Now()
		f.save()
	}
}

// save keeps what is in force for the next pgod. The lock is held.
func (f *follower) save() {
	raw, err := json.Marshal(f.good)
	if err == nil {
		err = renameio.WriteFile(f.path, raw, 0o600, renameio.WithTempDir(filepath.Dir(f.path)))
	}
	if f.saved = err == nil; err != nil {
		f.log.Error("cannot keep the configuration: a pgod that starts without a network will not have it; it is tried again", "error", err)
	}
}

// tell has the status show where the configuration is from. The lock is held, or nobody
// else knows f yet.
func (f *follower) tell() {
	shown := f.shown
	f.show(&shown)
}

// fetch looks at the branch and tells whether there is something that was not seen yet,
// or is not in force because nothing is.
func (f *follower) fetch(ctx context.Context) (news bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(f.ctx, func() { cancel(errors.New("the configuration is not followed any more")) })()
	select {
	case <-f.turn:
	case <-ctx.Done():
		return false, fmt.Errorf("cannot fetch the configuration: %w", context.Cause(ctx))
	}
	defer func() { f.turn <- struct{}{} }()
	fetched, err := f.fetcher.Fetch(ctx)
	if f.ctx.Err() != nil {
		return false, f.ctx.Err()
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("cannot fetch the configuration: %w", context.Cause(ctx))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.tell()
	if err != nil {
		if f.shown.Err == nil || f.shown.Err.Error() != err.Error() {
			f.log.Error("what is in force stays so", "error", err)
			f.shown.Since = time.Now()
		}
		f.shown.Err = err
		return false, err
	}
	f.shown.Err, f.shown.Looked = nil, time.Now()
	if f.inForce && !f.saved {
		f.save()
	}
	last := f.newest
	if last == nil && f.good != nil {
		last = &f.good.Fetched
	}
	f.newest = &fetched
	return !f.inForce || last.Commit != fetched.Commit, nil
}

// candidates are what can be in force, the newest first.
func (f *follower) candidates() []*supervisor.Fetched {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*supervisor.Fetched
	if f.newest != nil {
		all = append(all, f.newest)
	}
	if f.good != nil && (f.newest == nil || f.newest.Commit != f.good.Commit) {
		all = append(all, &f.good.Fetched)
	}
	return all
}

// isInForce tells whether something of the branch is in force.
func (f *follower) isInForce() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inForce
}

// keep saves what is about to be in force: a pgod that begins with less would miss what
// the newer commit has brought. It tells whether this is what the branch has, as far as
// this pgod has seen.
func (f *follower) keep(now *supervisor.Fetched) (newest bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.good == nil || f.good.Commit != now.Commit {
		f.good, f.saved = &kept{From: f.shown.From, Applied: time.Now(), Fetched: *now}, false
	}
	if !f.saved {
		f.save()
	}
	return f.newest != nil && f.newest.Commit == now.Commit
}

// applied notes that what was kept is in force.
func (f *follower) applied() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inForce = true
	f.shown.Commit, f.shown.Author, f.shown.Subject, f.shown.Applied = f.good.Commit, f.good.Author, f.good.Subject, f.good.Applied
	f.tell()
}

// ask has run fetch at once.
func (f *follower) ask() {
	select {
	case f.asked <- struct{}{}:
	default:
	}
}

// run looks at the branch until the follower is stopped: at once, then one time per
// interval, and when it is asked. It calls news when there is something new: always, or
// only when nothing is in force yet or it was asked.
func (f *follower) run(always bool, news func()) {
	for asked := false; ; {
		if fresh, err := f.fetch(f.ctx); err == nil && fresh && (always || asked || !f.isInForce()) {
			news()
		}
		timer := time.NewTimer(spread(f.upstream.Interval))
		select {
		case <-timer.C:
			asked = false
		case <-f.asked:
			asked = true
			timer.Stop()
		case <-f.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// spread moves a delay by up to a quarter either way, so that many hosts do not ask a git
// server all at once.
func spread(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }
