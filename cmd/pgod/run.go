package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"pgo/internal/atomicfile"
	"pgo/internal/config"
	"pgo/internal/dropin"
	"pgo/internal/sshd"
	"pgo/internal/version"
	"pgo/supervisor"
)

// runDir has the sockets of all pgods on this host.
const runDir = "/run/pgo"

// loaded is a configuration. A bad one has only the names of its files.
type loaded struct {
	*config.Config
	operators []ssh.PublicKey
	since     time.Time // when reading began
}

func load(f flags, options config.Options) (loaded, error) {
	l := loaded{since: time.Now()}
	if f.config == "" && options.Remote == nil {
		l.Config = &config.Config{Upstream: options.Upstream} // all of it has yet to be fetched
		return l, nil
	}
	cfg, err := config.Load(f.config, options)
	l.Config = cfg
	if err != nil {
		return l, err
	}
	if cfg.OperatorKeys != "" {
		l.operators, err = config.LoadOperatorKeys(cfg.OperatorKeys)
	}
	return l, err
}

// run runs pgod until ctx ends.
func run(ctx context.Context, f flags) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root: every worker runs as its service's own user")
	}
	syscall.Umask(0o022)
	hup := catchHangup()
	log, endLog, err := f.logger()
	if err != nil {
		return err
	}
	defer endLog()
	options, err := f.options()
	if err != nil {
		return err
	}
	cfg, err := load(f, options)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(f.dir)
	if err != nil {
		return err
	}
	worker, err := f.workerPath()
	if err != nil {
		return err
	}
	if info, err := os.Stat(worker); err == nil && info.Mode()&0o044 != 0 {
		log.Warn("services' users can read pgo-worker, and therefore trace a starting worker: chmod 711 it", "file", worker)
	}
	workers, err := supervisor.New(supervisor.Options{
		Dir:       dir,
		SocketDir: socketDir(dir),
		Worker:    worker,
		Forbidden: f.forbidden(),

		Configuration: f.origin(),
		Logger:        log,
	})
	if err != nil {
		return err
	}
	supervisor.RemoveStaleSocketDirs(runDir, socketDirName)
	server, listener, err := listen(f.ssh, dir, workers, log)
	if err != nil {
		workers.Close(ctx)
		return err
	}
	log.Info("listening", "address", listener.Addr().String(), "version", version.String(), "services", len(cfg.Services))
	r := &reloader{
		flags: f, options: options, workers: workers, server: server,
		sshPort: listener.Addr().(*net.TCPAddr).Port, log: log, hup: hup,
		watcher: newWatcher(f.config, log), dir: dir,
	}
	defer r.close()
	defer r.hideDir()
	r.begin(cfg)
	workers.Configuration.OnReload(r.told)
	workers.CountConnections(server.Connections)
	return serve(ctx, server, listener, workers, r)
}

// origin distinguishes this configuration from another one for the same directory.
func (f flags) origin() string {
	if f.upstream != nil {
		return fmt.Sprintf("git+%s//%s?ref=%s", f.upstream.Repository, f.upstream.Path, f.upstream.Branch)
	}
	return f.config
}

// forbidden returns the paths of pgod's own that containers must not mount, besides its
// directories.
func (f flags) forbidden() []string {
	if f.config == "" {
		return []string{runDir}
	}
	return []string{runDir, f.config, dropin.Dir(f.config)}
}

func listen(address, dir string, backend sshd.Backend, log hclog.Logger) (*sshd.Server, net.Listener, error) {
	key, err := sshd.LoadOrCreateHostKey(filepath.Join(dir, "host_key"))
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot listen: %w", err)
	}
	return sshd.New(sshd.Options{HostKey: key, Backend: backend, Logger: log}), listener, nil
}

// serve answers clients until ctx ends, and then stops in order: no new sessions, then running
// ones may end, then the workers.
func serve(ctx context.Context, server *sshd.Server, listener net.Listener, workers *supervisor.Supervisor, r *reloader) error {
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), listener) }()
	watched, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	go r.watch(watched)
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)

	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
	}
	r.log.Info("stopping")
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	grace, cancel := context.WithTimeout(context.Background(), supervisor.DrainTimeout)
	defer cancel()
	var stopping sync.WaitGroup
	stopping.Go(func() { _ = server.Shutdown(grace) })
	stopping.Go(func() { workers.Close(grace) })
	stopping.Wait()
	r.log.Info("stopped")
	return err
}

// shownDir is a file below runDir, named after pgod's port, that has the path of pgod's directory:
// pgoctl finds root's key and the host's there, wherever it is.
func (r *reloader) shownDir() (file, text string) {
	return filepath.Join(cmp.Or(r.runDir, runDir), fmt.Sprintf("port-%d", r.sshPort)), r.dir + "\n"
}

// showDir writes shownDir. Each reload does, as somebody may have removed it.
func (r *reloader) showDir() {
	file, text := r.shownDir()
	if err := atomicfile.Replace(file, []byte(text), 0o644); err != nil {
		r.log.Warn("pgoctl may not find root's key", "error", err)
	}
}

// hideDir removes shownDir, unless it is another pgod's by now.
func (r *reloader) hideDir() {
	file, text := r.shownDir()
	if now, err := os.ReadFile(file); err == nil && string(now) == text {
		_ = os.Remove(file)
	}
}

// socketDirName matches the names that socketDir gives.
var socketDirName = regexp.MustCompile(`^[0-9a-f]{1,8}$`)

// socketDir is this pgod's own directory below runDir: there may be several pgods, each with its
// own directory.
func socketDir(dir string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(dir))
	return filepath.Join(runDir, strconv.FormatUint(uint64(h.Sum32()), 16))
}
