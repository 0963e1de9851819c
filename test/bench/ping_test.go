package bench

import (
	"os/exec"
	"testing"
	"time"

	"pgo/test/rig"
)

// BenchmarkPing measures how long the answer to `ping` takes, the client's start included, with
// pgoctl and with the stock client. For comparison, it measures the least that the stock client
// can do at an OpenSSH server: with the key exchange that the two choose, and with the one that
// pgod has, too.
func BenchmarkPing(b *testing.B) {
	r := rig.New(b)
	web := r.Service("web")
	commit := web.Push("first", r.Idle())
	pgod := r.Start(web)
	deployed(b, pgod, web, commit)
	server := startOpenSSH(b, r, web.Key)
	for b.Loop() {
		var pgoctl, ssh, openSSH, x25519 sample
		for range 20 { // in turns, so that a busy moment affects all
			pgoctl = append(pgoctl, took(b, pgod.PgoctlCommand(web.Key, web.Op("ping"))))
			ssh = append(ssh, took(b, pgod.SSHCommand(web.Key, web.Op("ping"))))
			openSSH = append(openSSH, took(b, server.command()))
			x25519 = append(x25519, took(b, server.command("-o", "KexAlgorithms=curve25519-sha256")))
		}
		compare(b, "ms", "pgoctl", pgoctl, "openssh", openSSH)
		compare(b, "ms", "ssh", ssh, "openssh-x25519", x25519)
	}
}

// took returns the time in milliseconds from a command's start to its end.
func took(b *testing.B, cmd *exec.Cmd) float64 {
	b.Helper()
	start := time.Now()
	rig.Run(b, cmd).Exits(b, 0)
	return milliseconds(time.Since(start))
}
