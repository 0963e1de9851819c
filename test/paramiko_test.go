package test

import (
	"net"
	"os/exec"
	"testing"

	"golang.org/x/crypto/ssh/knownhosts"

	"pgo/test/rig"
)

// Paramiko is an implementation of SSH of its own, which many scripts use.
func TestParamiko(t *testing.T) {
	t.Parallel()
	r, pgod, web := runningTalker(t)
	_, port, err := net.SplitHostPort(pgod.Address)
	if err != nil {
		t.Fatal(err)
	}
	known := r.Dir + "/known_hosts"
	put(t, known, knownhosts.Line([]string{pgod.Address}, pgod.HostKey())+"\n", 0o600)
	// Debian's own Python, which has Debian's Paramiko.
	rig.Run(t, exec.Command("/usr/bin/python3", "testdata/with_paramiko.py", port, known, web.Key.File, web.Name)).Exits(t, 0)
}
