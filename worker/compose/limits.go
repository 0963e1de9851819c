package compose

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// What one compose may use, together with whatever it starts. A usual service needs 60 MiB and a
// second, and one with three thousand compose services 300 MiB.
const (
	maxMemory = 1 << 30
	// Threads and processes of the user, including those in any container: so it only bounds what
	// gets out of hand. Somebody else's containers, which can run as that user, must not reach
	// it.
	maxTasks = 1 << 15
)

// maxCPU is the CPU time of a compose that ends by itself. One that follows containers ends with
// its client, which may be in days.
var maxCPU = time.Hour

// follows reports whether a compose command keeps running until somebody ends it.
func follows(args []string) bool {
	return slices.Contains(args, "--follow") || args[0] == "stats" && !slices.Contains(args, "--no-stream")
}

// limit limits a compose that has just been started, and what it starts. Without limits it must
// not continue.
func limit(pid int, cpu time.Duration) error {
	for _, l := range []struct {
		resource int
		max      uint64
	}{
		{unix.RLIMIT_CPU, seconds(cpu)},
		{unix.RLIMIT_NPROC, maxTasks},
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_DATA, maxMemory}, // not AS: Go reserves much more than it uses
	} {
		if err := limitTo(pid, l.resource, l.max); err != nil && !errors.Is(err, unix.ESRCH) { // ESRCH: it has ended already
			return fmt.Errorf("cannot limit docker compose: %w", err)
		}
	}
	return nil
}

// limitTo sets one limit. A confined compose lowers its own limits at the same time: limitTo does
// not raise them.
func limitTo(pid, resource int, most uint64) error {
	var now unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &now); err != nil || now.Max < most {
		return err
	}
	err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: min(most, now.Cur), Max: most}, nil)
	if errors.Is(err, unix.EPERM) && unix.Prlimit(pid, resource, nil, &now) == nil && now.Max < most {
		return nil // it was faster
	}
	return err
}

// seconds returns a limit of CPU time; 0: none.
func seconds(cpu time.Duration) uint64 {
	if cpu == 0 {
		return unix.RLIM_INFINITY
	}
	return uint64(cpu / time.Second)
}

// memoryWatch finds in a Go program's output that it ended for lack of memory: a long trace
// follows those words.
type memoryWatch struct {
	last []byte // the end of what was written: the words may come in pieces
	out  bool
}

func (w *memoryWatch) Write(b []byte) (int, error) {
	w.last = append(w.last, b...)
	w.out = w.out || outOfMemory.Match(w.last)
	const most = 200
	w.last = append(w.last[:0], w.last[max(len(w.last)-most, 0):]...)
	return len(b), nil
}

// spentCPU is the status, in a shell's terms, of a compose that the kernel ended for its CPU
// time.
const spentCPU = 128 + int(unix.SIGXCPU)

// outOfCPU says that a compose reached its limit, judging by how it ended; "" if it did not. The
// clock by which the kernel ends it differs from the one that it shows, and on a busy machine by
// tenths of a second.
func outOfCPU(state *os.ProcessState, cpu time.Duration) string {
	if cpu == 0 || state.UserTime()+state.SystemTime() < cpu*9/10-time.Second/2 {
		return ""
	}
	return fmt.Sprintf("docker compose needs more than %s of CPU time for it", cpu)
}
