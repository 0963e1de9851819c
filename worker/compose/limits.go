package compose

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What one compose may use, and with it whatever it starts. It needs 60 MiB and a
// second for a usual service, and 300 MiB for one of three thousand compose
// services. What follows containers for days needs little CPU time.
const (
	maxMemory = 1 << 30
	maxCPU    = time.Hour
	maxTasks  = 1024 // threads and processes of the user, more than it has already
)

// limit limits a compose that has just been started, and what it starts. Without
// limits it must not go on.
func limit(pid int) error {
	tasks, err := tasksOf(os.Getuid())
	if err != nil {
		return fmt.Errorf("cannot count this user's processes: %w", err)
	}
	for _, l := range []struct {
		resource int
		max      uint64
	}{
		{unix.RLIMIT_CPU, uint64(maxCPU / time.Second)},
		{unix.RLIMIT_NPROC, uint64(tasks + maxTasks)},
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_DATA, maxMemory}, // not AS: Go reserves much more than it uses
	} {
		var was unix.Rlimit
		if err = unix.Prlimit(pid, l.resource, nil, &was); err == nil {
			// A confined one may have limited itself already: these are not raised.
			err = unix.Prlimit(pid, l.resource, &unix.Rlimit{Cur: min(l.max, was.Cur), Max: min(l.max, was.Max)}, nil)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) { // else it has ended already
			return fmt.Errorf("cannot limit docker compose: %w", err)
		}
	}
	return nil
}

// tasksOf counts the threads that a user has on this host: the kernel's limit is one
// of all of them.
func tasksOf(uid int) (int, error) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	tasks := 0
	for _, process := range processes {
		info, err := os.Stat(process)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != uid {
			continue
		}
		threads, err := os.ReadDir(filepath.Join(process, "task"))
		if err != nil {
			continue // it has ended, or keeps others from looking
		}
		tasks += len(threads)
	}
	return tasks, nil
}

// memoryWatch looks in what a Go program prints for its end by a lack of memory,
// after which it prints all that it was doing.
type memoryWatch struct {
	last []byte // of what was written: the words may come in pieces
	out  bool
}

func (w *memoryWatch) Write(b []byte) (int, error) {
	w.last = append(w.last, b...)
	w.out = w.out || outOfMemory.Match(w.last)
	const most = 200
	w.last = append(w.last[:0], w.last[max(len(w.last)-most, 0):]...)
	return len(b), nil
}

// overLimit says which limit a compose has met by how it ended; "" for none.
func overLimit(watch *memoryWatch, state *os.ProcessState) string {
	switch {
	case watch.out:
		return "docker compose needs more than " + strconv.Itoa(maxMemory>>20) + " MiB of memory for it"
	case state.UserTime()+state.SystemTime() > maxCPU*9/10:
		return "docker compose needs more than " + maxCPU.String() + " of CPU time for it"
	}
	return ""
}
