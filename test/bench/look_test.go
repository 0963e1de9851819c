package bench

import (
	"os/exec"
	"testing"
	"time"

	"pgo/internal/gittest"
	"pgo/test/rig"
)

// BenchmarkLook measures the CPU time that a worker takes for one look at an unchanged branch,
// with all its other work, and what pgod takes in the meantime. For comparison, it measures
// `git ls-remote` of the same branch at the same server.
func BenchmarkLook(b *testing.B) {
	r := rig.New(b)
	web := r.Service("web").Set("interval", "100ms")
	server := serve(b, web)
	commit := web.Push("first", r.Idle())
	for b.Loop() {
		const lists = 20
		baseline := lsRemote(b, web, lists)

		pgod := r.Start(web)
		deployed(b, pgod, web, commit)
		server.forget()
		server.looks(10) // until the deploy's cleanup is done

		const looks = 100
		worker := pgod.WorkerPID(web)
		workerBefore, pgodBefore := cpuTime(b, worker), cpuTime(b, pgod.PID())
		server.looks(looks)
		workerTime, pgodTime := cpuTime(b, worker)-workerBefore, cpuTime(b, pgod.PID())-pgodBefore
		pgod.Stop()

		compare(b, "ms-cpu", "look", sample{milliseconds(workerTime) / looks}, "ls-remote", sample{milliseconds(baseline) / lists})
		report(b, milliseconds(pgodTime)/looks, "ms-cpu-pgod")
	}
}

// lsRemote returns the CPU time of n times git ls-remote, its helper included.
func lsRemote(b *testing.B, s *rig.Service, n int) (total time.Duration) {
	b.Helper()
	for range n {
		cmd := exec.Command("git", "ls-remote", s.Setting("repository").(string), "refs/heads/main")
		cmd.Env = gittest.Environment
		rig.Run(b, cmd).Exits(b, 0)
		total += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return total
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
