package bench

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pgo/test/rig"
)

// BenchmarkStarts measures how long it takes until all of many workers are ready that start at
// once, and the CPU that each start takes of whoever is involved: the worker, pgod, and what pgod
// asks the name service with. For comparison, it measures what the worker's program takes to
// print its version.
func BenchmarkStarts(b *testing.B) {
	for _, n := range []int{100, 300} {
		b.Run(fmt.Sprintf("workers=%d", n), func(b *testing.B) { starts(b, n) })
	}
}

func starts(b *testing.B, n int) {
	r := rig.New(b)
	user, pgod := r.User("many"), r.Pgod()
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "[[services]]\nname = \"%s-%d\"\nuser = %q\nrepository = \"file:///nonexistent/app\"\ninterval = \"1h\"\n", r.Prefix, i, user.Name)
	}
	if err := os.WriteFile(pgod.ConfigFile, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var bare sample
		for range 20 {
			version := exec.Command(r.Program("pgo-worker"), "-v")
			if err := version.Run(); err != nil {
				b.Fatal(err)
			}
			bare = append(bare, milliseconds(version.ProcessState.UserTime()+version.ProcessState.SystemTime()))
		}
		began := time.Now()
		pgod.Start()
		rig.Within(b, 5*time.Minute, "all workers to be ready", func() error {
			if ready := strings.Count(pgod.Log(), "the worker is ready"); ready < n {
				return fmt.Errorf("%d are", ready)
			}
			return nil
		})
		report(b, time.Since(began).Seconds(), "s-until-ready")
		family, err := rig.Family(pgod.PID())
		if err != nil {
			b.Fatal(err)
		}
		spent := childrenTime(b, pgod.PID())
		for _, process := range family {
			spent += cpuTime(b, process.PID)
		}
		compare(b, "ms-cpu", "start", sample{milliseconds(spent) / float64(n)}, "version", bare)
	}
}

// childrenTime returns the processor time that a process's children had used when they ended.
func childrenTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	var user, system int64 // in hundredths of a second
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if _, err := fmt.Sscan(fields[13]+" "+fields[14], &user, &system); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
