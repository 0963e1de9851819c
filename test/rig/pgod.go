package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/BurntSushi/toml"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Pgod is a pgod with a directory, a configuration and a port of its own.
type Pgod struct {
	// Dir is what --dir says; it outlives restarts.
	Dir string
	// ConfigFile is what --config says.
	ConfigFile string
	// Flags are given in addition to those that the rig sets; a later one of the same name
	// wins. Env is pgod's environment in addition to PATH and HOME. Both take effect at the
	// next start.
	Flags, Env []string
	// Wrapper is a command that pgod's own is appended to, for a test that runs pgod in another
	// environment. It must execute pgod in the end.
	Wrapper []string
	// Address is where it listens, known once it has started.
	Address string

	rig       *Rig
	services  []*Service
	operators []*Key
	logFile   string
	pid       atomic.Int64  // a Hunt reads it while the test restarts pgod
	exited    chan struct{} // closed once pgod has been waited for; nil before the first start
}

// stopGrace is how long pgod may take to stop: what it grants changes and
// workers, and a little for itself.
const stopGrace = 20 * time.Second

// Start starts a pgod that has the services, and returns once it listens.
func (r *Rig) Start(services ...*Service) *Pgod {
	r.t.Helper()
	p := r.Pgod(services...)
	p.Start()
	return p
}

// Pgod prepares a pgod that has the services, for tests that change something
// about it before they start it.
func (r *Rig) Pgod(services ...*Service) *Pgod {
	r.t.Helper()
	dir, err := os.MkdirTemp(r.Dir, "pgod-")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	p := &Pgod{
		Dir:        filepath.Join(dir, "dir"),
		ConfigFile: filepath.Join(dir, "pgo.toml"),
		rig:        r,
		services:   services,
		logFile:    filepath.Join(dir, "log"),
	}
	r.write(p.logFile, "", 0o600)
	p.Configure()
	r.t.Cleanup(p.end)
	return p
}

// Operators makes the keys those of operators. It takes effect at the next start.
func (p *Pgod) Operators(keys ...*Key) {
	p.rig.t.Helper()
	p.operators = append(p.operators, keys...)
	p.Configure()
}

// NoOperators removes the list of operators.
func (p *Pgod) NoOperators() {
	p.rig.t.Helper()
	p.operators = nil
	p.Configure()
}

// Configure writes the configuration again, after a service's settings were changed. With
// arguments, these are the services from now on.
func (p *Pgod) Configure(services ...*Service) {
	p.rig.t.Helper()
	text := p.ConfigText(services...)
	// Renamed into place: pgod reads the file as soon as it changes, and must
	// not find half of it.
	p.rig.write(p.ConfigFile+".new", string(text), 0o600)
	if err := os.Rename(p.ConfigFile+".new", p.ConfigFile); err != nil {
		p.rig.t.Fatal(err)
	}
}

// ConfigText returns what Configure would write, for a test that writes it in another way. It
// writes the file with the operators' keys.
func (p *Pgod) ConfigText(services ...*Service) []byte {
	p.rig.t.Helper()
	if len(services) > 0 {
		p.services = services
	}
	var entries []map[string]any
	for _, service := range p.services {
		entries = append(entries, service.entry())
	}
	config := map[string]any{"services": entries}
	if len(p.operators) > 0 {
		file := filepath.Join(filepath.Dir(p.ConfigFile), "operator_keys")
		var lines strings.Builder
		for _, key := range p.operators {
			lines.WriteString(key.Public)
		}
		// In place, and so only when it is another one: pgod may read it at any time.
		if old, err := os.ReadFile(file); err != nil || string(old) != lines.String() {
			p.rig.write(file, lines.String(), 0o600)
		}
		config["pgod"] = map[string]any{"operator_keys": file}
	}
	text, err := toml.Marshal(config)
	if err != nil {
		p.rig.t.Fatal(err)
	}
	return text
}

// listening is the line of the log that says where pgod listens.
var listening = regexp.MustCompile(`listening.*\baddress=(\S+)`)

// Start starts pgod, for the first time or again, and returns once it listens.
func (p *Pgod) Start() {
	t := p.rig.t
	t.Helper()
	log, err := os.OpenFile(p.logFile, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	before := len(p.Log())
	cmd := p.Command()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("cannot start pgod: %v", err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }() // cmd.ProcessState has its status
	p.pid.Store(int64(cmd.Process.Pid))
	p.exited = exited
	Within(t, 10*time.Second, "pgod to listen", func() error {
		if found := listening.FindStringSubmatch(p.Log()[before:]); found != nil {
			p.Address = strings.Trim(found[1], `"`)
			p.rig.write(p.knownHosts(), knownhosts.Line([]string{p.Address}, p.HostKey())+"\n", 0o644)
			return nil
		}
		if p.stopped() {
			t.Fatalf("pgod ended before it listened: %v", cmd.ProcessState)
		}
		return fmt.Errorf("its log has no line with %q", listening)
	})
}

// Command prepares pgod as Start runs it, for a test that expects it to end by
// itself.
func (p *Pgod) Command() *exec.Cmd {
	p.rig.t.Helper()
	args := append(slices.Clone(p.Wrapper), p.rig.Program("pgod"),
		"--config", p.ConfigFile, "--dir", p.Dir, "--ssh", "127.0.0.1:0", "--duration", "2s", "--debug")
	args = append(args, p.Flags...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, p.Env...)
	// It dies with this process, even where that is killed, but is out of reach
	// of a terminal's ^C: the rig stops it in its turn.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return cmd
}

// PID returns pgod's process ID.
func (p *Pgod) PID() int { return int(p.pid.Load()) }

// Stop asks pgod to stop, and returns once it has.
func (p *Pgod) Stop() {
	p.rig.t.Helper()
	p.signal(syscall.SIGTERM)
	p.awaitExit(stopGrace)
}

// Kill ends pgod with SIGKILL.
func (p *Pgod) Kill() {
	p.rig.t.Helper()
	p.signal(syscall.SIGKILL)
	p.awaitExit(time.Second)
}

// Restart stops pgod and starts it again. It listens on another port then.
func (p *Pgod) Restart() {
	p.rig.t.Helper()
	p.Stop()
	p.Start()
}

// Reload has pgod read its configuration again.
func (p *Pgod) Reload() {
	p.rig.t.Helper()
	p.signal(syscall.SIGHUP)
}

// Log returns all that pgod, over all its starts, has logged so far.
func (p *Pgod) Log() string {
	p.rig.t.Helper()
	text, err := os.ReadFile(p.logFile)
	if err != nil {
		p.rig.t.Fatal(err)
	}
	return string(text)
}

// WorkerPID waits until the service has a worker and returns its process ID.
func (p *Pgod) WorkerPID(service *Service) int {
	p.rig.t.Helper()
	pid := 0
	Until(p.rig.t, "a worker of "+service.Name, func() error {
		family, err := Family(p.PID())
		if err != nil {
			return err
		}
		var workers []int
		for _, process := range family {
			if process.Parent == p.PID() && process.UID == service.User.UID && process.Name == "pgo-worker" {
				workers = append(workers, process.PID)
			}
		}
		if len(workers) != 1 {
			return fmt.Errorf("pgod has %d workers of the user %s: %v", len(workers), service.User.Name, family)
		}
		pid = workers[0]
		return nil
	})
	return pid
}

// HostKey returns the public half of pgod's own key.
func (p *Pgod) HostKey() ssh.PublicKey {
	p.rig.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.Dir, "host_key"))
	if err != nil {
		p.rig.t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		p.rig.t.Fatalf("cannot read pgod's host key: %v", err)
	}
	return key.PublicKey()
}

func (p *Pgod) signal(signal syscall.Signal) {
	p.rig.t.Helper()
	if p.stopped() {
		p.rig.t.Fatalf("cannot send %s to pgod: it has ended", signal)
	}
	if err := syscall.Kill(p.PID(), signal); err != nil {
		p.rig.t.Fatalf("cannot send %s to pgod: %v", signal, err)
	}
}

func (p *Pgod) stopped() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

func (p *Pgod) awaitExit(limit time.Duration) {
	p.rig.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(limit):
		p.rig.t.Fatalf("pgod has not ended within %s", limit)
	}
}

// removePorts removes the files by which root's pgoctl finds a pgod's directory, where one that
// was killed has left them.
func (p *Pgod) removePorts() {
	files, err := filepath.Glob("/run/pgo/port-*")
	if err != nil {
		p.rig.t.Error(err)
	}
	for _, file := range files {
		if dir, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(dir)) == p.Dir {
			if err := os.Remove(file); err != nil {
				p.rig.t.Error(err)
			}
		}
	}
}

// end stops a pgod that still runs and shows the log of a test that failed.
func (p *Pgod) end() {
	if p.exited != nil && !p.stopped() {
		_ = syscall.Kill(p.PID(), syscall.SIGTERM)
		select {
		case <-p.exited:
		case <-time.After(stopGrace):
			p.rig.t.Errorf("pgod has not ended within %s of SIGTERM", stopGrace)
			_ = syscall.Kill(p.PID(), syscall.SIGKILL)
			<-p.exited
		}
	}
	p.removePorts()
	if p.rig.t.Failed() {
		p.rig.t.Logf("pgod logged:\n%s", p.Log())
	}
}
