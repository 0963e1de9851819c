package worker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// leftoverGrace is how long a killed process may take to disappear.
const leftoverGrace = 5 * time.Second

// killMarked kills every process that has marker in its environment, and waits until it is
// gone. Since the environment is inherited, this includes descendants whose parents the
// kernel killed.
func killMarked(marker string) error {
	proc, err := os.Open("/proc")
	if err != nil {
		return err
	}
	names, err := proc.Readdirnames(-1)
	_ = proc.Close()
	if err != nil {
		return err
	}
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return err
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		if err := killIfMarked(pid, filepath.Join("/proc", name), own, marker); err != nil {
			return err
		}
	}
	return nil
}

// killIfMarked kills a process of this namespace that has the marker. Almost all have not: on a
// host where hundreds of workers start, each looks at all the others.
func killIfMarked(pid int, dir, namespace, marker string) error {
	var info unix.Stat_t
	if uid := os.Getuid(); uid != 0 && (unix.Stat(dir, &info) != nil || info.Uid != uint32(uid)) {
		return nil // somebody else's, and so not readable, or gone
	}
	environ := filepath.Join(dir, "environ")
	env, err := os.ReadFile(environ)
	if err != nil || !hasMarker(env, marker) {
		return nil
	}
	// It is a container's process: whoever writes the compose file chooses its environment and
	// its user.
	if ns, err := os.Readlink(filepath.Join(dir, "ns/pid")); err != nil || ns != namespace {
		return nil
	}
	return killAndWait(pid, environ, marker)
}

func hasMarker(environ []byte, marker string) bool {
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if string(variable) == marker {
			return true
		}
	}
	return false
}

// killAndWait kills pid through a handle that cannot come to refer to another process.
func killAndWait(pid int, environ, marker string) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil // gone
	}
	if err != nil {
		return fmt.Errorf("cannot kill process %d of an earlier worker: %w (pgo needs Linux 5.3)", pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if env, err := os.ReadFile(environ); err != nil || !hasMarker(env, marker) {
		return nil // the PID was reused before the handle was opened
	}
	if err := unix.PidfdSendSignal(fd, syscall.SIGKILL, nil, 0); err != nil {
		return nil // gone
	}
	ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, _ := unix.Poll(ready, int(leftoverGrace.Milliseconds())); n == 0 {
		return fmt.Errorf("process %d of an earlier worker was killed and does not exit", pid)
	}
	return nil
}
