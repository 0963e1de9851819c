package test

import (
	"testing"

	"pgo/test/rig"
)

// Whatever reads pgod's log may be stuck or gone: operations work all the same.
func TestNobodyReadsTheLog(t *testing.T) {
	for name, reader := range map[string]string{
		"a pipe that nobody reads": `sed -u 20q >&2; exec tail --pid=$$ -f /dev/null`,
		"a pipe that is closed":    `sed -u 20q >&2`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rig.New(t)
			web := r.Service("web")
			web.Push("first", r.Idle())
			pgod := r.Pgod(web)
			// The rig learns from the first lines where pgod listens.
			pgod.Wrapper = []string{"bash", "-c", `exec "$@" 2> >(` + reader + `)`, "bash"}
			pgod.Start()
			rig.Until(t, "the key to be known", func() error { return ping(pgod, web, web.Key) })
			client := dial(t, pgod, web.Key)
			for range 500 { // a pipe has room for 64 KiB, and each takes 190 bytes of it
				session, err := client.NewSession()
				if err != nil {
					t.Fatal(err)
				}
				if err := session.Run(web.Op("ping")); err != nil {
					t.Fatal(err)
				}
			}
			rig.Until(t, "the service to run", rig.Running(web.Name, 1))
			pgod.Stop()
		})
	}
}
