package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/atomicfile"
	"pgo/internal/config"
	"pgo/internal/wait"
	"pgo/supervisor"
)

// rejoin is how long the local files may lack a configuration from git before it no longer counts
// as the last one in force: the local file may have been half written.
const rejoin = 10 * time.Minute

// follower follows the branch that the configuration is in: it fetches, remembers what was last
// in force, and calls the reloader when there is something new. It is the watcher's counterpart
// for git, and never applies anything itself.
type follower struct {
	upstream config.Upstream
	fetcher  interface {
		Fetch(context.Context) (supervisor.Fetched, error)
		Close()
	}
	path string // of the file with what was last in force
	log  hclog.Logger
	show func(*supervisor.Upstream)

	ctx    context.Context // ends when the branch is no longer followed
	cancel context.CancelFunc
	asks   chan chan<- answer // asks run to look at once

	mu      sync.Mutex          // guards what follows
	newest  *supervisor.Fetched // nil: nothing was fetched by this pgod
	good    *kept               // what is or was last in force; nil: nothing ever was
	saved   bool                // good is on disk
	inForce bool                // good is in force now
	shown   supervisor.Upstream
}

// kept is a configuration from git that is, or was, in force: a restart without network continues
// with it.
type kept struct {
	From    string    `json:"from"`
	Applied time.Time `json:"applied"`
	Left    time.Time `json:"left,omitzero"` // when the local files no longer wanted it
	supervisor.Fetched
}

// follow returns a follower that has read what was last in force.
func follow(workers *supervisor.Supervisor, upstream config.Upstream, dir string, log hclog.Logger) *follower {
	f := &follower{
		upstream: upstream, fetcher: workers.NewFetcher(upstream), path: filepath.Join(dir, "configuration.json"),
		log: log, show: workers.Configuration.ShowUpstream, asks: make(chan chan<- answer, 1),
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	// Identifies the configuration to people and to pgod; the token is not a part of it.
	f.shown.From = fmt.Sprintf("%s//%s, branch %s", upstream.Repository, upstream.Path, upstream.Branch)
	f.recall()
	f.tell()
	return f
}

// recall reads what was last in force.
func (f *follower) recall() {
	raw, err := os.ReadFile(f.path)
	var last kept
	if err == nil {
		err = json.Unmarshal(raw, &last)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		f.log.Warn("cannot read the configuration that was last in force: fetching it", "error", err)
	case last.From == f.shown.From && (last.Left.IsZero() || time.Since(last.Left) < rejoin):
		f.good, f.saved = &last, last.Left.IsZero()
		f.good.Left = time.Time{}
	}
}

// stop ends everything that the follower does.
func (f *follower) stop() {
	f.cancel()
	f.fetcher.Close()
}

// leave notes that the configuration is no longer wanted: it must not come back with its entry
// after a long time.
func (f *follower) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.good != nil {
		f.good.Left = time.Now()
		f.save()
	}
}

// save keeps what is in force for the next pgod. The caller holds the lock.
func (f *follower) save() {
	raw, err := json.Marshal(f.good)
	if err == nil {
		err = atomicfile.Replace(f.path, raw, 0o600)
	}
	if f.saved = err == nil; err != nil {
		f.log.Error("cannot save the configuration: a pgod that starts without a network will not have it; it is tried again", "error", err)
	}
}

// tell has the status show where the configuration is from, as long as it is followed. The caller
// holds the lock, or nobody else knows f yet.
func (f *follower) tell() {
	if f.ctx.Err() != nil {
		return
	}
	shown := f.shown
	f.show(&shown)
}

// fetch looks at the branch and reports whether it has something new, or something that is not in
// force because nothing is. Only run calls it.
func (f *follower) fetch() (news bool, err error) {
	f.looks(time.Now())
	fetched, err := f.fetcher.Fetch(f.ctx)
	if f.ctx.Err() != nil {
		return false, f.ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.tell()
	f.shown.Looking = time.Time{}
	if err != nil {
		if f.shown.Err == nil || f.shown.Err.Error() != err.Error() {
			f.log.Error(f.consequence(), "error", err)
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

// consequence says what follows from a failed fetch. The caller holds the lock.
func (f *follower) consequence() string {
	if f.good == nil {
		return "nothing is in force yet, and no service is started until the configuration can be fetched"
	}
	return "the old configuration stays in force"
}

// looks has the status show since when the follower has been looking at the branch.
func (f *follower) looks(since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shown.Looking = since
	f.tell()
}

// candidates returns what can be in force, the newest first.
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

// isInForce reports whether something of the branch is in force.
func (f *follower) isInForce() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inForce
}

// keep saves what is about to be in force: a pgod that starts with less would lack what the newer
// commit brought. It reports whether this is what the branch has, as far as this pgod has seen.
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

// applied notes that what keep saved is in force.
func (f *follower) applied() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inForce = true
	f.shown.Commit, f.shown.Author, f.shown.Subject, f.shown.Applied = f.good.Commit, f.good.Author, f.good.Subject, f.good.Applied
	f.tell()
}

// answer is the result of a look that somebody asked for.
type answer struct {
	supervisor.Reloaded
	err error
}

// ask has run look at once, and apply what it finds. Nobody waits for the answer.
func (f *follower) ask() {
	select {
	case f.asks <- make(chan answer, 1):
	default: // somebody has asked already
	}
}

// await has run look at once, unless it was already asked to, and returns the result. It returns
// false if that takes longer than patience lasts, or ends with the follower; the look then
// continues, and its result is applied. The channel reply has room for one.
func (f *follower) await(reply chan answer, asked bool, patience time.Duration) (answer, bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	if !asked {
		select {
		case f.asks <- reply:
		case <-timer.C:
			return answer{}, false
		case <-f.ctx.Done():
			return answer{}, false
		}
	}
	select {
	case a := <-reply:
		return a, true
	case <-timer.C:
	case <-f.ctx.Done():
	}
	return answer{}, false
}

// run looks at the branch until the follower is stopped: at once, then once per interval, and
// when it is asked. It calls reload when it was asked, when nothing is in force and, if always is
// set, when there is something new.
func (f *follower) run(always bool, reload func() (supervisor.Reloaded, error)) {
	var reply chan<- answer // to whoever asked for this look; nil: nobody
	select {
	case reply = <-f.asks:
	default:
	}
	for {
		fresh, missed := f.fetch()
		if reply != nil || missed == nil && fresh && (always || !f.isInForce()) {
			reloaded, err := reload()
			if missed != nil && (err == nil || errors.Is(err, errNotFetched)) {
				err = missed
			}
			if reply != nil {
				reply <- answer{reloaded, err} // it has room for one
			}
		}
		// Spread over time, many hosts do not ask a git server all at once.
		timer := time.NewTimer(wait.Spread(f.upstream.Interval, 0.25))
		select {
		case <-timer.C:
			reply = nil
		case reply = <-f.asks:
			timer.Stop()
		case <-f.ctx.Done():
			timer.Stop()
			return
		}
	}
}
