package bench

import (
	"fmt"
	"testing"

	"pgo/test/rig"
)

// BenchmarkIdleMemory is what an idle worker has in memory, alone and as one of
// ten, and what pgod has. Beside it an sshd that waits for somebody to log in,
// and a small web server in Go: the one that the first service runs.
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
	for i, s := range services {
		deployed(b, pgod, s, commits[i])
	}
	site := rig.Containers(b, services[0].Name)[0].State.Pid
	server.forget()
	server.looks(10) // until it is as it will stay
	for b.Loop() {
		var worker, supervisor, sshd, web memories
		for range 5 {
			server.looks(1)
			for _, s := range services {
				worker.add(b, pgod.WorkerPID(s))
			}
			supervisor.add(b, pgod.PID())
			sshd.add(b, openssh.pid)
			web.add(b, site)
		}
		worker.report(b, "worker")
		supervisor.report(b, "pgod")
		sshd.report(b, "sshd")
		web.report(b, "site")
	}
}

// memories are several looks at the memory of one sort of process.
type memories struct{ dirty, private, pss sample }

func (m *memories) add(b *testing.B, pid int) {
	b.Helper()
	now := readMemory(b, pid)
	m.dirty = append(m.dirty, now.dirty)
	m.private = append(m.private, now.private)
	m.pss = append(m.pss, now.pss)
}

func (m *memories) report(b *testing.B, name string) {
	report(b, m.dirty.median(), "MiB-dirty-"+name)
	report(b, m.private.median(), "MiB-private-"+name)
	report(b, m.pss.median(), "MiB-pss-"+name)
}
