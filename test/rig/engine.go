package rig

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"
)

// Engine is a Docker engine of one test's own, to be stopped, killed and run out of disk space.
// Its networks are real, in a network namespace of their own: what its containers publish
// cannot be reached from the host.
type Engine struct {
	// Host is its address, as docker_host names it.
	Host string

	rig    *Rig
	dir    string
	data   string
	group  int
	user   *User // that it runs as; nil: root
	daemon *exec.Cmd
	exited chan struct{} // closed once the daemon has been waited for
}

// Engine starts an engine that the user and root may use.
func (r *Rig) Engine(user *User) *Engine {
	r.t.Helper()
	return r.EngineOn(user, "")
}

// EngineOn is Engine with its data in a directory that exists, for example that of a Disk.
func (r *Rig) EngineOn(user *User, data string) *Engine {
	r.t.Helper()
	dir := filepath.Join(r.Dir, "engine")
	r.remember(kindEngine, dir)
	r.mkdir(dir, 0o755)
	if data == "" {
		data = filepath.Join(dir, "data")
		r.mkdir(data, 0o711)
	}
	e := &Engine{Host: "unix://" + filepath.Join(dir, "docker.sock"), rig: r, dir: dir, data: data, group: user.GID}
	r.write(e.file("daemon.json"), "{}\n", 0o600)
	// A containerd of its own: the daemon would take the machine's, if there is
	// one.
	r.write(e.file("containerd.toml"), fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = %q
[debug]
address = %q
`, filepath.Join(data, "containerd"), e.file("containerd"), e.file("containerd.sock"), e.file("debug.sock")), 0o600)
	for _, command := range [][]string{
		{"ip", "netns", "add", engineName(dir)},
		{"ip", "-n", engineName(dir), "link", "set", "lo", "up"},
	} {
		if _, err := output(command[0], command[1:]...); err != nil {
			r.t.Fatalf("cannot make the engine's network: %v", err)
		}
	}
	r.t.Cleanup(e.end)
	r.background("the engine's containerd", "containerd", "--config", e.file("containerd.toml"), "--log-level", "warn")
	Until(r.t, "the engine's containerd", func() error { _, err := os.Stat(e.file("containerd.sock")); return err })
	e.Start()
	return e
}

// engineName names an engine's network namespace and its containers' cgroup.
func engineName(dir string) string { return filepath.Base(filepath.Dir(dir)) + "-engine" }

func (e *Engine) file(name string) string { return filepath.Join(e.dir, name) }

// Start starts the engine, for the first time or again, and returns once it
// answers.
func (e *Engine) Start() {
	t := e.rig.t
	t.Helper()
	log, err := os.OpenFile(e.file("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	e.daemon = e.command()
	e.daemon.Stdout, e.daemon.Stderr = log, log
	e.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := e.daemon.Start(); err != nil {
		t.Fatalf("cannot start an engine: %v", err)
	}
	daemon, exited := e.daemon, make(chan struct{})
	go func() { _ = daemon.Wait(); close(exited) }()
	e.exited = exited
	Until(t, "the engine to answer", func() error {
		select {
		case <-exited:
			t.Fatalf("the engine ended before it answered: %v", daemon.ProcessState)
		default:
		}
		_, err := e.output("version")
		return err
	})
}

func (e *Engine) command() *exec.Cmd {
	options := []string{"dockerd", "--config-file", e.file("daemon.json"), "--data-root", e.data, "--exec-root", e.file("exec"), "--pidfile", e.file("pid"), "--host", e.Host}
	if e.user != nil {
		return e.rootless(options[1:])
	}
	options = append(options, "--group", strconv.Itoa(e.group), "--containerd", e.file("containerd.sock"), "--cgroup-parent", "/"+engineName(e.dir))
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + engineName(e.dir)}, options...)...)
}

// Stop asks the engine to stop, which stops its containers, and returns once it
// has.
func (e *Engine) Stop() {
	e.rig.t.Helper()
	e.signal(syscall.SIGTERM)
}

// Kill ends the engine with SIGKILL. Its containers keep running until it is started again,
// which ends them.
func (e *Engine) Kill() {
	e.rig.t.Helper()
	e.signal(syscall.SIGKILL)
}

// Freeze makes the engine hang: it takes connections, and answers nothing, until Thaw.
func (e *Engine) Freeze() { e.send(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (e *Engine) Thaw() { e.send(syscall.SIGCONT) }

func (e *Engine) send(signal syscall.Signal) {
	e.rig.t.Helper()
	if err := e.daemon.Process.Signal(signal); err != nil {
		e.rig.t.Fatalf("cannot send %s to the engine: %v", signal, err)
	}
}

func (e *Engine) signal(signal syscall.Signal) {
	t := e.rig.t
	t.Helper()
	e.send(signal)
	select {
	case <-e.exited:
	case <-time.After(patience):
		t.Fatalf("the engine has not ended within %s of %s", patience, signal)
	}
}

// end shows what the engine of a failed test logged. The rig removes the engine, or its user.
func (e *Engine) end() {
	if e.user != nil {
		if err := endProcesses(e.user.Name, e.user.UID); err != nil {
			e.rig.t.Error(err)
		}
	}
	if !e.rig.t.Failed() {
		return
	}
	text, _ := os.ReadFile(e.file("log"))
	e.rig.t.Logf("the last that the engine logged:\n%s", text[max(0, len(text)-20_000):])
}

// Command prepares a docker command that talks to the engine.
func (e *Engine) Command(args ...string) *exec.Cmd {
	return exec.Command("docker", append([]string{"--host", e.Host}, args...)...)
}

// Docker runs a docker command on the engine and returns what it printed.
func (e *Engine) Docker(args ...string) string {
	e.rig.t.Helper()
	return Run(e.rig.t, e.Command(args...)).Exits(e.rig.t, 0).Stdout
}

// Network runs a program of the host in the engine's network namespace.
func (e *Engine) Network(program string, args ...string) {
	e.rig.t.Helper()
	command := append([]string{"--net=/run/netns/" + engineName(e.dir), program}, args...)
	Run(e.rig.t, exec.Command("nsenter", command...)).Exits(e.rig.t, 0)
}

func (e *Engine) output(args ...string) (string, error) {
	return output("docker", append([]string{"--host", e.Host}, args...)...)
}

// Busybox imports the image of Rig.Busybox, under the same name, into the engine.
func (e *Engine) Busybox() string {
	t := e.rig.t
	t.Helper()
	root, err := busyboxRoot("/bin/busybox", nil)
	if err != nil {
		t.Fatal(err)
	}
	name := e.rig.Busybox()
	load := e.Command("import", "--change", `CMD ["sh"]`, "-", name)
	load.Stdin = bytes.NewReader(root)
	Run(t, load).Exits(t, 0)
	return name
}

// Containers returns all of the compose project's containers on the engine, sorted by name.
func (e *Engine) Containers(project string) ([]Container, error) {
	api, err := client.New(client.WithHost(e.Host))
	if err != nil {
		return nil, err
	}
	defer func() { _ = api.Close() }()
	return inspected(api, project)
}

// removeEngine ends everything that belongs to the engine in dir: its daemons, their helpers,
// its containers; and removes its mounts, network and cgroups.
func removeEngine(dir string) error {
	err := poll(10*time.Second, func() error {
		left, err := engineProcesses(dir)
		for _, pid := range left {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("still running: %v", left)
		}
		return err
	})
	if err := errors.Join(err, removeMounts(dir)); err != nil {
		return err
	}
	if _, err := os.Stat("/run/netns/" + engineName(dir)); err == nil {
		if _, err := output("ip", "netns", "delete", engineName(dir)); err != nil {
			return err
		}
	}
	cgroups, err := engineCgroups(dir)
	if err != nil {
		return err
	}
	for _, cgroup := range slices.Backward(cgroups) { // what lies deeper comes later
		if err := os.Remove(cgroup); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// engineProcesses returns those that name the engine's directory, and its containers'.
func engineProcesses(dir string) (pids []int, err error) {
	all, err := Processes()
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if slices.Contains([]string{"dockerd", "containerd", "containerd-shim", "docker-proxy"}, p.Name) && strings.Contains(strings.Join(p.Args, " "), dir+"/") {
			pids = append(pids, p.PID)
		}
	}
	cgroups, err := engineCgroups(dir)
	for _, cgroup := range cgroups {
		procs, _ := os.ReadFile(filepath.Join(cgroup, "cgroup.procs")) // or it is gone
		for _, line := range strings.Fields(string(procs)) {
			if pid, err := strconv.Atoi(line); err == nil && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids, err
}

// engineCgroups returns the engine's cgroups, each hierarchy's, from the top.
func engineCgroups(dir string) (found []string, err error) {
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		tops, err := filepath.Glob(pattern + engineName(dir))
		if err != nil {
			return nil, err
		}
		for _, top := range tops {
			err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
				if errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				if err == nil && entry.IsDir() {
					found = append(found, path)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// Disk is a small file system in memory.
type Disk struct {
	Dir string
	rig *Rig
}

// Disk makes a file system of that many MiB.
func (r *Rig) Disk(name string, size int) *Disk {
	r.t.Helper()
	d := &Disk{Dir: filepath.Join(r.Dir, name), rig: r}
	r.remember(kindDisk, d.Dir)
	r.mkdir(d.Dir, 0o755)
	if err := syscall.Mount("tmpfs", d.Dir, "tmpfs", 0, fmt.Sprintf("mode=0755,size=%dm", size)); err != nil {
		r.t.Fatalf("cannot make a small disk: %v", err)
	}
	return d
}

// Resize makes it larger, or smaller, while it is in use.
func (d *Disk) Resize(size int) {
	d.rig.t.Helper()
	if err := syscall.Mount("tmpfs", d.Dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%dm", size)); err != nil {
		d.rig.t.Fatalf("cannot resize a small disk: %v", err)
	}
}

// Fill leaves no more room than that many KiB. It may be called again with less.
func (d *Disk) Fill(leave int) {
	d.rig.t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.Dir, &s); err != nil {
		d.rig.t.Fatal(err)
	}
	room := int64(s.Bavail)*s.Bsize - int64(leave)<<10
	if room <= 0 {
		return
	}
	file, err := os.OpenFile(filepath.Join(d.Dir, "filler"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		d.rig.t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil {
		err = syscall.Fallocate(int(file.Fd()), 0, info.Size(), room)
	}
	if err != nil {
		d.rig.t.Fatalf("cannot fill a small disk: %v", err)
	}
}

// Clear undoes Fill.
func (d *Disk) Clear() {
	d.rig.t.Helper()
	if err := os.Remove(filepath.Join(d.Dir, "filler")); err != nil {
		d.rig.t.Fatal(err)
	}
}

// removeMounts unmounts the directory and all below it, also what is in use by
// a process that ends.
func removeMounts(dir string) error {
	mounts, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, mount := range slices.Backward(mounts) {
		if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			errs = append(errs, fmt.Errorf("cannot unmount %s: %w", mount, err))
		}
	}
	return errors.Join(errs...)
}
