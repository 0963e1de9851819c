package compose

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// What one compose may use, and with it whatever it starts. It needs 60 MiB and a
// second for a usual service, and 300 MiB for one of three thousand compose services.
const (
	maxMemory = 1 << 30
	// Threads and processes of the user, those in any container included: so it is no
	// more than a bound for what gets out of hand. Somebody else's containers, which can
	// run as that user, must not reach it.
	maxTasks = 1 << 15
)

// maxCPU is what one may compute that ends by itself. What follows containers ends
// with its client, which may be in days.
var maxCPU = time.Hour

// follows tells whether a compose command goes on until somebody ends it.
func follows(args []string) bool {
	return slices.Contains(args, "--follow") || args[0] == "stats" && !slices.Contains(args, "--no-stream")
}

// limit limits a compose that has just been started, and what it starts. Without
// limits it must not go on.
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
		if err := limitTo(pid, l.resource, l.max); err != nil && !errors.Is(err, unix.ESRCH) { // else it has ended already
			return fmt.Errorf("cannot limit docker compose: %w", err)
		}
	}
	return nil
}

// limitTo sets one limit. A confined compose limits itself to less at the same time: that
// is not raised.
func limitTo(pid, resource int, most uint64) error {
	var now unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &now); err != nil || now.Max < most {
		return err
	}
	err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: min(most, now.Cur), Max: most}, nil)
	if errors.Is(err, unix.EPERM) && unix.Prlimit(pid, resource, nil, &now) == nil && now.Max < most {
		return nil // it came first
	}
	return err
}

// seconds is a limit of CPU time; 0: none.
func seconds(cpu time.Duration) uint64 {
	if cpu == 0 {
		return unix.RLIM_INFINITY
	}
	return uint64(cpu / time.Second)
}

// memoryWatch finds in a Go program's output that it ended for lack of memory: a long
// trace follows those words.
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

// spentCPU is the status of a compose that the kernel has ended for its CPU time, as a
// shell has it.
const spentCPU = 128 + int(unix.SIGXCPU)

// outOfCPU says that a compose met its limit by how it ended; "" if it did not. The
// clock that the kernel ends it by differs from the one that it shows.
func outOfCPU(state *os.ProcessState, cpu time.Duration) string {
	if cpu == 0 || state.UserTime()+state.SystemTime() < cpu*9/10 {
		return ""
	}
	return fmt.Sprintf("docker compose needs more than %s of CPU time for it", cpu)
}
