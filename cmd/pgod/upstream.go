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
	"reflect"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/go-hclog"

	"pgo/internal/config"
	"pgo/supervisor"
)

// errNotFetched means that the configuration is in git, and nothing of it is here yet.
var errNotFetched = errors.New("the configuration was not fetched from git yet")

// read reads the configuration as it is now: the local files and, where some of it is in
// git, the newest commit that goes together with them, from. An error beside a from is
// about a newer commit. r.one is held.
func (r *reloader) read() (cfg loaded, from *supervisor.Fetched, err error) {
	cfg, err = load(r.flags, r.options)
	upstream := cfg.Upstream
	switch {
	case err != nil:
		return cfg, nil, err
	case upstream == nil:
		r.unfollow(true)
		return cfg, nil, nil
	case r.follower != nil && !reflect.DeepEqual(r.follower.upstream, *upstream):
		r.unfollow(r.follower.shown.From != origin(*upstream)) // or it has another token, perhaps
	}
	if r.follower == nil {
		r.follower = follow(r.workers, *upstream, r.dir, r.log)
		go r.follower.run(func() { _, _ = r.reload() }) // its error is logged
	}
	var files []string // also those that a bad commit wants: to put one there may mend it
	for _, candidate := range r.follower.candidates() {
		options := r.options
		options.Remote = candidate.Files
		full, bad := load(r.flags, options)
		files = append(files, full.Files...)
		full.Files = files
		if cfg = full; bad == nil {
			return full, candidate, err
		}
		if err == nil {
			err = fmt.Errorf("commit %s %q by %s of the configuration is bad:\n%w", candidate.Commit[:min(7, len(candidate.Commit))], candidate.Subject, candidate.Author, bad)
		}
	}
	if err == nil {
		err = errNotFetched
	}
	return cfg, nil, err
}

// begin applies what there is at pgod's start. Where the configuration is in git, and
// nothing of it was ever here, that is what the local files say: it will be fetched.
func (r *reloader) begin(local loaded) {
	r.one.Lock() // what is fetched meanwhile must come after this
	defer r.one.Unlock()
	if local.Upstream == nil {
		r.apply(local)
		return
	}
	if _, err := r.reloadNow(); err == nil || r.follower.isInForce() {
		return
	}
	r.watcher.tell(local.Files, local.since)
	r.server.Trust(local.TrustedNetworks)
	r.workers.Apply(local.Services, local.operators, r.sshPort)
}

// told is a reload that somebody asked for: it does not wait for the next look at git.
func (r *reloader) told() (supervisor.Reloaded, error) {
	r.one.Lock()
	follower := r.follower
	r.one.Unlock()
	var missed error
	if follower != nil {
		_, missed = follower.fetch()
	}
	reloaded, err := r.reload()
	if err == nil {
		err = missed
	}
	return reloaded, err
}

// unfollow ends following a branch. What is forgotten does not come back to life with the
// entry, however old it is by then. r.one is held.
func (r *reloader) unfollow(forget bool) {
	if r.follower == nil {
		return
	}
	r.follower.stop()
	r.workers.ShowUpstream(nil)
	if forget {
		if err := os.Remove(r.follower.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.log.Warn("cannot forget the configuration from git", "error", err)
		}
	}
	r.follower = nil
}

// close ends what fetches the configuration.
func (r *reloader) close() {
	r.one.Lock()
	defer r.one.Unlock()
	if r.follower != nil {
		r.follower.stop()
	}
}

// follower follows the branch that the configuration is in.
type follower struct {
	upstream config.Upstream
	fetcher  *supervisor.Fetcher
	path     string // of the file with what was in force last
	log      hclog.Logger
	show     func(*supervisor.Upstream)

	ctx    context.Context // ends when the branch is not followed any more
	cancel context.CancelFunc

	mu     sync.Mutex          // guards what follows
	newest *supervisor.Fetched // nil: nothing was fetched by this pgod
	good   *kept               // nil: nothing of it was ever in force
	shown  supervisor.Upstream

	applied bool // something of it is in force now
}

// kept is a configuration from git that is, or was, in force: a restart without network
// goes on with it.
type kept struct {
	From    string    `json:"from"`
	Applied time.Time `json:"applied"`
	supervisor.Fetched
}

// follow returns a follower that has read what was in force last.
func follow(workers *supervisor.Supervisor, upstream config.Upstream, dir string, log hclog.Logger) *follower {
	f := &follower{
		upstream: upstream, fetcher: workers.NewFetcher(upstream), path: filepath.Join(dir, "configuration.json"),
		log: log, show: workers.ShowUpstream,
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.shown.From = origin(upstream)
	raw, err := os.ReadFile(f.path)
	var saved kept
	if err == nil {
		err = json.Unmarshal(raw, &saved)
	}
	switch {
	case err == nil && saved.From == f.shown.From:
		f.good = &saved
		f.shown.Commit, f.shown.Author, f.shown.Subject, f.shown.Applied = saved.Commit, saved.Author, saved.Subject, saved.Applied
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		log.Warn("cannot read the configuration that was in force last: it is fetched", "error", err)
	}
	f.tell()
	return f
}

// origin is where a configuration is, for people and to tell it from another.
func origin(u config.Upstream) string {
	return fmt.Sprintf("%s//%s, branch %s", u.Repository, u.Path, u.Branch)
}

func (f *follower) stop() {
	f.cancel()
	f.fetcher.Close()
}

// tell has the status show where the configuration is from. The lock is held, or nobody
// else knows f yet.
func (f *follower) tell() {
	shown := f.shown
	f.show(&shown)
}

// fetch looks at the branch and tells whether there is something that was not seen yet.
func (f *follower) fetch() (news bool, err error) {
	fetched, err := f.fetcher.Fetch(f.ctx)
	if f.ctx.Err() != nil {
		return false, f.ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.tell()
	if err != nil {
		if f.shown.Err == nil || f.shown.Err.Error() != err.Error() {
			f.log.Error("cannot fetch the configuration: what is in force stays so", "error", err)
			f.shown.Since = time.Now()
		}
		f.shown.Err = err
		return false, err
	}
	f.shown.Err, f.shown.Looked = nil, time.Now()
	switch {
	case f.newest != nil:
		news = f.newest.Commit != fetched.Commit
	case f.good != nil:
		news = f.good.Commit != fetched.Commit
	default:
		news = true
	}
	f.newest = &fetched
	return news, nil
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
	return f.applied
}

// inForce notes what is in force from now on, for this pgod and the next.
func (f *follower) inForce(now *supervisor.Fetched) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied = true
	if f.good != nil && f.good.Commit == now.Commit {
		return
	}
	f.good = &kept{From: f.shown.From, Applied: time.Now(), Fetched: *now}
	f.shown.Commit, f.shown.Author, f.shown.Subject, f.shown.Applied = now.Commit, now.Author, now.Subject, f.good.Applied
	f.tell()
	raw, err := json.Marshal(f.good)
	if err == nil {
		err = renameio.WriteFile(f.path, raw, 0o600, renameio.WithTempDir(filepath.Dir(f.path)))
	}
	if err != nil {
		f.log.Error("cannot keep the configuration: without a network the next pgod will not have it", "error", err)
	}
}

// run looks at the branch until the follower is stopped, at once and then one time per
// interval, and calls news when there is something new.
func (f *follower) run(news func()) {
	for {
		if fresh, err := f.fetch(); err == nil && fresh {
			news()
		}
		timer := time.NewTimer(spread(f.upstream.Interval))
		select {
		case <-timer.C:
		case <-f.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// spread moves a delay by up to a quarter either way, so that many hosts do not ask a git
// server all at once.
func spread(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }
