package rig

import (
	"net"
	"strings"
	"testing"
	"time"
)

func TestPgodStartsStopsAndIsKilled(t *testing.T) {
	r := New(t)
	web := r.Service("web")
	web.Push("first", r.Idle())
	p := r.Start(web)
	first, key := p.PID(), p.HostKey()
	worker := p.WorkerPID(web)
	if !strings.Contains(p.SSH(r.Key("stranger"), web.Op("ping")).Exits(t, 255).Stderr, "Permission denied") {
		t.Error("a stranger's ssh is not told that permission is denied")
	}
	if said := p.SSH(web.Key, web.Op("ping")).Exits(t, 0).Stdout; !strings.HasPrefix(said, "pong!") {
		t.Errorf("ping says %q", said)
	}
	if said := p.Pgoctl(web.Key, web.Op("ping")).Exits(t, 0).Stdout; !strings.HasPrefix(said, "pong!") {
		t.Errorf("ping with pgoctl says %q", said)
	}
	p.Restart()
	if p.PID() == first || p.WorkerPID(web) == worker {
		t.Errorf("pgod %d and its worker %d are as before the restart", first, worker)
	}
	if string(p.HostKey().Marshal()) != string(key.Marshal()) {
		t.Error("the host key changed with the restart")
	}
	p.Kill()
	if conn, err := net.DialTimeout("tcp", p.Address, time.Second); err == nil {
		conn.Close()
		t.Error("a killed pgod answers")
	}
	Within(t, orphanGrace, "the workers to be gone", web.User.Idle)
}

func TestPgodThatDoesNotStartIsReported(t *testing.T) {
	try(t, func(t testing.TB) {
		p := New(t).Pgod()
		p.Flags = []string{"--no-such-flag"}
		p.Start()
	}).complains(t, "pgod ended before it listened", "no-such-flag")
}
