package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"

	"pgo/internal/config"
	"pgo/internal/sshd"
	"pgo/supervisor"
)

// settle is how long the files must be quiet before they are read: an editor
// writes in several steps.
const settle = 300 * time.Millisecond

// reloader reads the configuration again when it changed.
type reloader struct {
	flags   flags
	options config.Options
	workers *supervisor.Supervisor
	server  *sshd.Server
	sshPort int // what the listener got, also where options say 0
	log     hclog.Logger
	hup     <-chan os.Signal

	one sync.Mutex // held while the configuration is read and applied
}

// catchHangup is to be called before anybody may send one: it would end pgod.
// It stays caught to the end, also while pgod is stopping.
func catchHangup() <-chan os.Signal {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return hup
}

// watch reloads on SIGHUP, and with --restart when a file changed, until ctx
// ends.
func (r *reloader) watch(ctx context.Context) {
	changes := r.changes()
	timer := time.NewTimer(settle)
	timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.hup:
			_, _ = r.reload() // its error is logged
		case <-changes:
			timer.Reset(settle)
		case <-timer.C:
			_, _ = r.reload()
		}
	}
}

// changes yields something when the configuration may have changed. The
// directories that hold it are watched, since a file that is replaced is another
// file.
func (r *reloader) changes() <-chan struct{} {
	if !r.flags.reload {
		return nil
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		r.log.Warn("cannot watch the configuration: reload with SIGHUP", "error", err)
		return nil
	}
	changes := make(chan struct{})
	dropins := config.DropinDir(r.flags.config)
	for _, dir := range []string{filepath.Dir(r.flags.config), dropins} {
		if err := watcher.Add(dir); err != nil && !os.IsNotExist(err) {
			r.log.Warn("cannot watch the configuration: reload with SIGHUP", "directory", dir, "error", err)
		}
	}
	go func() {
		for {
			select {
			case e := <-watcher.Events:
				if e.Name == dropins && e.Has(fsnotify.Create) {
					_ = watcher.Add(dropins) // gone again, then
				}
				if e.Name == r.flags.config || e.Name == dropins || filepath.Dir(e.Name) == dropins {
					changes <- struct{}{}
				}
			case err := <-watcher.Errors: // the kernel's queue ran over: who knows what changed
				r.log.Warn("missed what happened to the configuration: reading it again", "error", err)
				changes <- struct{}{}
			}
		}
	}()
	return changes
}

// reload applies the configuration as it is now. A bad one changes nothing. It may be
// called by several at once.
func (r *reloader) reload() (supervisor.Reloaded, error) {
	r.one.Lock()
	defer r.one.Unlock()
	cfg, err := load(r.flags, r.options)
	if err != nil {
		r.log.Error("cannot reload the configuration: the old one stays in force", "error", err)
		r.workers.Rejected(err)
		return supervisor.Reloaded{}, err
	}
	r.log.Info("reloaded the configuration", "services", len(cfg.Services))
	return r.apply(cfg), nil
}

func (r *reloader) apply(cfg loaded) supervisor.Reloaded {
	var reloaded supervisor.Reloaded
	for _, warning := range cfg.Warnings {
		r.log.Warn("the configuration could be better", "at", warning.String())
		reloaded.Warnings = append(reloaded.Warnings, warning.String())
	}
	r.server.Trust(cfg.TrustedNetworks)
	reloaded.Changes = r.workers.Apply(cfg.Services, cfg.operators, r.sshPort)
	return reloaded
}
