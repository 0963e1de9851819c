package bench

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns the processor time that all threads of a process have used, ended ones
// included, to the nanosecond: /proc counts in hundredths of a second.
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	// As clock_getcpuclockid(3) makes it: the kernel's CPUCLOCK_SCHED of a process.
	clock := int32(^pid<<3 | 2)
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		b.Fatalf("cannot read the CPU clock of process %d: %v", pid, err)
	}
	return time.Duration(t.Nano())
}

// memory is what a process has in memory, in MiB.
type memory struct {
	dirty   float64 // neither shared nor backed by a file: it is there because of this process alone
	private float64 // dirty, and the pages of files that no other process maps at the moment
	pss     float64 // private, and its part of the shared pages
}

func readMemory(b *testing.B, pid int) memory {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	mib := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		var key string
		var kib float64
		if n, _ := fmt.Sscanf(line, "%s %f kB", &key, &kib); n == 2 {
			mib[key] = kib / 1024
		}
	}
	dirty := mib["Private_Dirty:"]
	return memory{dirty: dirty, private: dirty + mib["Private_Clean:"], pss: mib["Pss:"]}
}
