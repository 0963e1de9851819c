package bench

import (
	"fmt"
	"testing"

	"pgo/test/rig"
)

// BenchmarkIdleMemory measures the memory of an idle worker, alone and as one of ten, and of
// pgod. For comparison, it measures an sshd that waits for a login, and a small web server in
// Go: the one that the first service runs.
func BenchmarkIdleMemory(b *testing.B) {
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprintf("workers=%d", n), func(b *testing.B) { idleMemory(b, n) })
	}
}

func idleMemory(b *testing.B, n int) {
	r := rig.New(b)
	var services []*rig.Service
	var commits []string
	for i := range n {
		s := r.Service(fmt.Sprintf("web%d", i)).Set("interval", "1s")
		files := r.Idle()
		if i == 0 {
			files = r.Site(r.Port(), "hello")
		}
		commits = append(commits, s.Push("first", files))
		services = append(services, s)
	}
	server := serve(b, services[0])
	openssh := startOpenSSH(b, r, services[0].Key)
	pgod := r.Start(services...)
	var workers []int
	for i, s := range services {
		deployed(b, pgod, s, commits[i])
		workers = append(workers, pgod.WorkerPID(s))
	}
	site := rig.Containers(b, services[0].Name)[0].State.Pid
	server.forget()
	server.looks(10) // until its memory is stable
	for b.Loop() {
		var ofWorker, ofPgod, ofSSHD, ofSite memories
		for range 5 {
			server.looks(1)
			for _, worker := range workers {
				ofWorker.add(b, worker)
			}
			ofPgod.add(b, pgod.PID())
			ofSSHD.add(b, openssh.pid)
			ofSite.add(b, site)
		}
		compare(b, "MiB-dirty", "worker", ofWorker.dirty, "sshd", ofSSHD.dirty)
		compare(b, "MiB-dirty", "worker", ofWorker.dirty, "site", ofSite.dirty)
		report(b, ofPgod.dirty.median(), "MiB-dirty-pgod")
		report(b, ofWorker.private.median(), "MiB-private-worker")
		report(b, ofWorker.pss.median(), "MiB-pss-worker")
		report(b, ofPgod.private.median(), "MiB-private-pgod")
		report(b, ofPgod.pss.median(), "MiB-pss-pgod")
	}
}

// memories are several measurements of the memory of one kind of process.
type memories struct{ dirty, private, pss sample }

func (m *memories) add(b *testing.B, pid int) {
	b.Helper()
	now := readMemory(b, pid)
	m.dirty = append(m.dirty, now.dirty)
	m.private = append(m.private, now.private)
	m.pss = append(m.pss, now.pss)
}
