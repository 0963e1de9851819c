package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgo/test/rig"
)

// BenchmarkDeploy measures the time from the moment when a worker has noticed a new commit, and
// begins to fetch it, until the new container runs. For comparison, it measures a shell script
// from git fetch on: with `up` alone, and with a `down` before it.
func BenchmarkDeploy(b *testing.B) {
	for _, way := range []string{"recreate", "in-place"} {
		b.Run(way, func(b *testing.B) {
			r := rig.New(b)
			web, bare := r.Service("web").Set("deploy", way), r.Service("bare")
			server := serve(b, web)
			pgod := r.Pgod(web)
			commit := web.Push("round 0", oneContainer(r, 0))
			bare.Push("round 0", oneContainer(r, 0))
			pgod.Start()
			deployed(b, pgod, web, commit)
			script := cloned(b, r, bare)
			for b.Loop() {
				var pgo, up, downUp sample
				for i := range 5 {
					server.forget()
					commit := web.Push("next", oneContainer(r, 3*i+1))
					noticed := server.next(false).at
					deployed(b, pgod, web, commit)
					pgo = append(pgo, milliseconds(started(b, web, 3*i+1).Sub(noticed)))

					up = append(up, script(3*i+2, "docker compose up -d"))
					downUp = append(downUp, script(3*i+3, "docker compose down && docker compose up -d"))
				}
				compare(b, "ms", "pgo", pgo, "up", up)
				compare(b, "ms", "pgo", pgo, "down-up", downUp)
			}
		})
	}
}

// oneContainer is a repository with one container that uses up the whole second that it is
// given to stop, and whose environment has the round.
func oneContainer(r *rig.Rig, round int) rig.Files {
	return rig.Files{"compose.yaml": fmt.Sprintf(`services:
  app:
    image: %s
    command: [sleep, "86400"]
    stop_grace_period: 1s
    environment: {ROUND: "%d"}
`, r.Busybox(), round)}
}

// cloned clones the service's repository and starts what is in it. The returned function pushes
// another round, deploys it with a script, and returns the milliseconds from the script's start
// to the new container's.
func cloned(b *testing.B, r *rig.Rig, s *rig.Service) (script func(round int, commands string) float64) {
	b.Helper()
	dir := filepath.Join(r.Dir, "clone")
	shell := func(in, commands string) {
		cmd := exec.Command("sh", "-ec", commands)
		cmd.Dir = in
		cmd.Env = append(os.Environ(), "COMPOSE_PROJECT_NAME="+s.Name)
		rig.Run(b, cmd).Exits(b, 0)
	}
	shell(r.Dir, "git clone --quiet "+s.Setting("repository").(string)+" clone && cd clone && docker compose up -d")
	return func(round int, commands string) float64 {
		b.Helper()
		s.Push("next", oneContainer(r, round))
		start := time.Now()
		shell(dir, "git fetch --quiet && git reset --quiet --hard FETCH_HEAD && "+commands)
		return milliseconds(started(b, s, round).Sub(start))
	}
}

// started returns when the engine started the service's container, which must be that of the
// round.
func started(b *testing.B, s *rig.Service, round int) time.Time {
	b.Helper()
	containers := rig.Containers(b, s.Name)
	if len(containers) != 1 || !containers[0].Running() || !slices.Contains(containers[0].Config.Env, fmt.Sprintf("ROUND=%d", round)) {
		b.Fatalf("what runs is not round %d: %+v", round, containers)
	}
	return containers[0].State.StartedAt
}
