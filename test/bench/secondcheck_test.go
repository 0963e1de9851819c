package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/target"
	"pgo/test/rig"
	"pgo/worker/compose"
	"pgo/worker/deploy"
	"pgo/worker/gitrepo"
)

// BenchmarkSecondCheck measures the cost of making all containers first, comparing what the
// engine says about them with what was checked, and only then starting them, next to one
// `docker compose up` that makes and starts the same. check is the part between the two in
// which nothing but the check happens.
func BenchmarkSecondCheck(b *testing.B) {
	for _, containers := range []int{1, 10} {
		b.Run(fmt.Sprint(containers), func(b *testing.B) {
			r := rig.New(b)
			web := r.Service("web")
			web.Push("containers", rig.Files{"compose.yaml": fmt.Sprintf(`services:
  app:
    image: %s
    command: [sleep, "86400"]
    init: true
    scale: %d
    stop_grace_period: 1s
`, r.Busybox(), containers)})
			at := map[deploy.Step]time.Time{}
			service := opened(b, r, web, func(step deploy.Step) { at[step] = time.Now() })
			change := func(do func(*deploy.Turn) error) error {
				return service.Do(b.Context(), "a benchmark", func(string) {}, do)
			}
			if err := change(func(t *deploy.Turn) error { return t.Poll(b.Context()) }); err != nil {
				b.Fatal(err)
			}
			anew := target.Args{Given: []target.Given{{Flag: "--force-recreate"}}}
			for b.Loop() {
				var pgo, check, bare sample
				for range 5 {
					if err := change(func(t *deploy.Turn) error { return t.Up(b.Context(), "bench", anew, compose.Output{}) }); err != nil {
						b.Fatal(err)
					}
					pgo = append(pgo, milliseconds(at[deploy.StepGate].Sub(at[deploy.StepCreate])))
					check = append(check, milliseconds(at[deploy.StepUp].Sub(at[deploy.StepMade])))

					model := filepath.Join(r.Dir, "service", "start.json")
					shell(b, r.Dir, web, "docker compose -f "+model+" down")
					begun := time.Now()
					shell(b, r.Dir, web, "docker compose -f "+model+" up -d --no-build --pull never")
					bare = append(bare, milliseconds(time.Since(begun)))
				}
				compare(b, "ms", "pgo", pgo, "up", bare)
				compare(b, "ms", "check", check, "up", bare)
			}
		})
	}
}

// opened opens a service in this process, as its worker would.
func opened(b *testing.B, r *rig.Rig, s *rig.Service, onStep func(deploy.Step)) *deploy.Service {
	b.Helper()
	dir := filepath.Join(r.Dir, "service")
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	service, err := deploy.Open(deploy.Config{
		Name: s.Name, Dir: dir, Branch: "main", Remote: gitrepo.Remote{URL: s.Setting("repository").(string)},
		Timeout: 5 * time.Minute, Gate: 5 * time.Minute, Project: compose.Project{Marker: "PGO_SERVICE_DIR=" + dir}, OnStep: onStep,
	}, deploy.NewQueue(), hclog.NewNullLogger(), func() {})
	if err != nil {
		b.Fatal(err)
	}
	return service
}
