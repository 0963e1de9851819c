package main

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"pgo/supervisor"
)

// errNotFetched means that the configuration is in git, and none of it is here yet.
var errNotFetched = errors.New("the configuration has not been fetched from git yet")

// impatience is how long somebody waits who wants the configuration fetched now.
const impatience = 15 * time.Second

// read reads the configuration as it is now: the local files and, if some of it is in git, the
// newest commit that fits them, from. An error next to a from is about a newer commit. The caller
// holds r.one.
func (r *reloader) read() (cfg loaded, from *supervisor.Fetched, err error) {
	cfg, err = load(r.flags, r.options)
	upstream := cfg.Upstream
	switch {
	case err != nil:
		return cfg, nil, err
	case upstream == nil:
		return cfg, nil, nil
	case r.follower != nil && !reflect.DeepEqual(r.follower.upstream, *upstream):
		r.unfollow()
	}
	if r.follower == nil {
		r.follower = follow(r.workers, *upstream, r.dir, r.log)
		if r.waits != nil {
			r.follower.asks <- r.waits // it has room for one, and nobody else knows it yet
			r.waits = nil
		}
		go r.follower.run(r.flags.reload, r.reloadUnasked)
	}
	var files []string // also those that a bad commit wants: adding one may mend it
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

// begin applies what there is at pgod's start. If some of the configuration is in git and cannot
// be fetched, no service starts: half of a configuration would grant what belongs to the other
// half, and make a proxy forget it. What runs is left alone, and operators can look.
func (r *reloader) begin(local loaded) {
	r.one.Lock() // a fetch that ends meanwhile must be applied after this
	defer r.one.Unlock()
	r.showDir()
	if local.Upstream == nil {
		_, _ = r.apply(local, true, nil)
		return
	}
	reloaded, err := r.reloadNow(nil, false)
	if reloaded.Applied {
		return
	}
	r.server.Trust(local.TrustedNetworks)
	r.workers.Apply(nil, r.appoint(local.operators), r.sshPort)
	if err != nil && !errors.Is(err, errNotFetched) {
		r.workers.Configuration.Rejected(err)
	}
}

// told is a reload that an operator waits for: it does not wait for the next look at git. If
// it removes most services, those in confirmed are all that it may remove.
func (r *reloader) told(confirmed []string) (supervisor.Reloaded, error) {
	local, err := load(r.flags, r.options)
	if err != nil || local.Upstream == nil {
		return r.reload(confirmed) // git cannot mend that, or has no part in it
	}
	reply := make(chan answer, 1)
	r.one.Lock()
	// A follower that starts with this reload reports the result of its first look: that is what
	// the reload has changed.
	r.waits = reply
	_, _, _ = r.read() // the reload reports what is wrong
	begun := r.waits == nil
	r.waits = nil
	follower := r.follower
	r.one.Unlock()
	if follower == nil {
		return r.reload(confirmed)
	}
	if a, inTime := follower.await(reply, begun, impatience); inTime {
		if confirmed != nil && errors.As(a.err, new(*supervisor.Loss)) {
			return r.reload(confirmed)
		}
		return a.Reloaded, a.err
	}
	reloaded, err := r.reload(confirmed)
	if follower.ctx.Err() == nil && (err == nil || errors.Is(err, errNotFetched)) {
		err = fmt.Errorf("git has not answered within %s: its configuration will be in force when it does", impatience)
	}
	return reloaded, err
}

// unfollow stops following a branch. The caller holds r.one.
func (r *reloader) unfollow() {
	if r.follower == nil {
		return
	}
	r.follower.stop()
	r.follower.leave()
	r.workers.Configuration.ShowUpstream(nil)
	r.follower = nil
}

// close stops the follower, and so releases whoever waits for it.
func (r *reloader) close() {
	r.one.Lock()
	defer r.one.Unlock()
	if r.follower != nil {
		r.follower.stop()
	}
}
