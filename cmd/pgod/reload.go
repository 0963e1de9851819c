package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"pgo/internal/config"
	"pgo/internal/sshd"
	"pgo/supervisor"
)

// reloader is the only one that reads the configuration and applies it. It is asked to by SIGHUP
// or an operator, by the watcher for local files, and by the follower for the branch in git if
// some of the configuration is there.
type reloader struct {
	flags   flags
	options config.Options
	workers *supervisor.Supervisor
	server  *sshd.Server
	sshPort int // the listener's port, also where options say 0
	log     hclog.Logger
	hup     <-chan os.Signal
	watcher *watcher

	dir    string // pgod's own directory
	runDir string // empty: the usual one

	one      sync.Mutex    // held while the configuration is read and applied
	follower *follower     // nil: all of the configuration is on this host
	waits    chan<- answer // to whoever waits for the first look of a new follower; nil: nobody
}

// catchHangup must be called before anybody may send a SIGHUP, which would end pgod. The signal
// stays caught to the end, also while pgod is stopping.
func catchHangup() <-chan os.Signal {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return hup
}

// watch reloads on SIGHUP, and with --restart when a file changed, until ctx ends.
func (r *reloader) watch(ctx context.Context) {
	changes := make(chan struct{}, 1)
	if r.flags.reload {
		go r.watcher.run(ctx, changes)
	}
	for {
		select {
		case <-ctx.Done():
			r.close()
			return
		case <-r.hup:
			_, _ = r.reloadUnasked() // its error is logged
			r.ask()
		case <-changes:
			r.reloadNoticed()
		}
	}
}

// reload applies the configuration as it is now. A bad one changes nothing, and neither does one
// that removes most services, unless all of them are in confirmed. Several goroutines may call it
// at once.
func (r *reloader) reload(confirmed []string) (supervisor.Reloaded, error) {
	r.one.Lock()
	defer r.one.Unlock()
	return r.reloadNow(confirmed, false)
}

// reloadUnasked is a reload that no operator has asked for.
func (r *reloader) reloadUnasked() (supervisor.Reloaded, error) { return r.reload(nil) }

// reloadNoticed is a reload because a file has changed. What was being written while it was read
// may be half of it, such as a list of operators without any: it is left for the watcher, which
// reports that change, too.
func (r *reloader) reloadNoticed() {
	r.one.Lock()
	defer r.one.Unlock()
	_, _ = r.reloadNow(nil, true) // its error is logged
}

// reloadNow is reload for callers that hold r.one. If patient, it does nothing when a file was
// being written.
func (r *reloader) reloadNow(confirmed []string, patient bool) (supervisor.Reloaded, error) {
	r.showDir()
	cfg, from, err := r.read()
	if patient && writtenSince(cfg.since, r.flags.config, cfg.Files) {
		return supervisor.Reloaded{}, err
	}
	switch {
	case errors.Is(err, errNotFetched):
		r.log.Info("waiting for the configuration to be fetched from git")
	case err != nil:
		if r.follower != nil && !r.follower.isInForce() {
			r.log.Error("the configuration is bad: nothing is in force yet, and no service is started until it is fixed", "error", err)
		} else {
			r.log.Error("cannot reload the configuration: the old one stays in force", "error", err)
		}
	}
	if err != nil && from == nil {
		r.watcher.tell(cfg.Files, cfg.since)
		if errors.Is(err, errNotFetched) { // which is shown anyway
			r.workers.Configuration.Rejected(nil)
		} else {
			r.workers.Configuration.Rejected(err)
		}
		return supervisor.Reloaded{}, err
	}
	if lost := r.workers.Loss(cfg.Services); lost != nil && !lost.IsConfirmed(confirmed) {
		err := error(lost)
		if from != nil {
			err = fmt.Errorf("commit %s %q by %s of the configuration: %w", from.Commit[:min(7, len(from.Commit))], from.Subject, from.Author, lost)
		}
		r.log.Error("the configuration would remove most services: the old one stays in force until an operator confirms it", "error", err)
		r.watcher.tell(cfg.Files, cfg.since)
		r.workers.Configuration.Rejected(err)
		return supervisor.Reloaded{}, err
	}
	if cfg.Upstream == nil {
		r.unfollow()
	}
	newest := from == nil || r.follower.keep(from)
	reloaded, lost := r.apply(cfg, newest, confirmed)
	if from != nil {
		r.follower.applied()
	}
	if err != nil { // about a newer commit than the one in force
		r.workers.Configuration.Rejected(err)
		return reloaded, err
	}
	r.log.Info("reloaded the configuration", append([]any{"services", len(cfg.Services)}, differences(reloaded.Changes, from)...)...)
	if lost != nil {
		return reloaded, lost
	}
	return reloaded, nil
}

// differences returns what is new, for a log line.
func differences(c supervisor.Changes, from *supervisor.Fetched) []any {
	var fields []any
	for _, kind := range []struct {
		name     string
		services []string
	}{{"added", c.Added}, {"changed", c.Changed}, {"removed", c.Removed}} {
		if len(kind.services) > 0 {
			fields = append(fields, kind.name, strings.Join(kind.services, ", "))
		}
	}
	if from != nil {
		fields = append(fields, "commit", from.Commit[:min(7, len(from.Commit))])
	}
	return fields
}

// ask has the follower look at git, without waiting for the result.
func (r *reloader) ask() {
	r.one.Lock()
	defer r.one.Unlock()
	if r.follower != nil {
		r.follower.ask()
	}
}

// apply puts the configuration in force. If it is sure that nothing newer is known, it removes
// what an earlier pgod had in addition, or returns what would have to be confirmed. The caller
// holds r.one.
func (r *reloader) apply(cfg loaded, sure bool, confirmed []string) (reloaded supervisor.Reloaded, lost *supervisor.Loss) {
	r.watcher.tell(cfg.Files, cfg.since)
	reloaded.Applied = true
	for _, warning := range cfg.Warnings {
		r.log.Warn("the configuration could be better", "at", warning.String())
		reloaded.Warnings = append(reloaded.Warnings, warning.String())
	}
	r.server.Trust(cfg.TrustedNetworks)
	reloaded.Changes = r.workers.Apply(cfg.Services, r.appoint(cfg.operators), r.sshPort)
	if !sure {
		return reloaded, nil
	}
	swept, lost := r.workers.Sweep(cfg.spared(), confirmed)
	reloaded.Removed = append(reloaded.Removed, swept...)
	slices.Sort(reloaded.Removed)
	if lost != nil {
		r.log.Error("the configuration lacks most services that this host had: nothing is removed until an operator confirms it", "error", lost)
		r.workers.Configuration.Rejected(lost)
	}
	return reloaded, lost
}

// appoint returns the keys of operators: the configured ones, and root's own, which is for this
// host alone. Root needs no key to become an operator, and so finds one here.
func (r *reloader) appoint(configured []ssh.PublicKey) []ssh.PublicKey {
	path := filepath.Join(r.dir, "root_key")
	own, made, err := sshd.LoadOrMakeKey(path)
	if err != nil {
		r.log.Warn("root has no key of its own to log in with", "error", err)
		r.server.LocalOnly(nil)
		return configured
	}
	if made {
		r.log.Info("made a key with which root of this host is an operator", "file", path)
	}
	if slices.ContainsFunc(configured, func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), own.Marshal()) }) {
		r.server.LocalOnly(nil) // somebody wants it to count from everywhere
		return configured
	}
	r.server.LocalOnly(own)
	return append(slices.Clone(configured), own)
}

// spared returns the names of services that are not for this host, and still must not be taken
// down at the start for that reason: another name of the host is all that it takes, and must not
// take down everything. As long as an entry names this host, its name is known, and what is for
// other hosts is theirs.
func (l loaded) spared() []string {
	for _, s := range l.Services {
		if len(s.Machine) > 0 {
			return nil
		}
	}
	return l.Elsewhere
}
