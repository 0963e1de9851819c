package supervisor

import (
	"fmt"
	"testing"

	"pgo/internal/hoststat"
	"pgo/proto"
)

func TestTally(t *testing.T) {
	var deploys tally
	report := func(activity string, outcome hoststat.Outcome, deployed, since int64) func() {
		return func() {
			deploys.count(&proto.State{
				Activity: proto.Value[proto.State_Activity](activity), Outcome: proto.Value[proto.State_Outcome](string(outcome)),
				DeployedAt: deployed, ErrorSince: since,
			})
		}
	}
	for _, step := range []struct {
		what, want string
		happens    func()
	}{
		{"the worker has started", "map[]", report("", "", 0, 0)},
		{"it is idle", "map[]", report("idle", "", 0, 0)},
		{"the first deploy is recorded", "map[]", report("busy", "", 5, 0)},
		{"and has ended", "map[deployed:1]", report("idle", "deployed", 5, 0)},
		{"nothing new", "map[deployed:1]", report("idle", "deployed", 5, 0)},
		{"the git server is down", "map[deployed:1]", report("idle", "deployed", 5, 6)},
		{"a commit is refused", "map[deployed:1 refused:1]", report("idle", "refused", 5, 7)},
		{"still", "map[deployed:1 refused:1]", report("idle", "refused", 5, 7)},
		{"and so is the next", "map[deployed:1 refused:2]", report("idle", "refused", 5, 8)},
		{"one is not healthy", "map[degraded:1 deployed:1 refused:2]", report("idle", "degraded", 5, 9)},
		{"the rollback is to an older one", "map[degraded:1 deployed:1 refused:2]", report("idle", "degraded", 4, 9)},
		{"another worker", "map[degraded:1 deployed:1 refused:2]", deploys.again},
		{"says the same", "map[degraded:1 deployed:1 refused:2]", report("idle", "degraded", 4, 10)},
		{"it is fixed", "map[degraded:1 deployed:2 refused:2]", report("idle", "deployed", 11, 0)},
		{"frozen does not count", "map[degraded:1 deployed:2 refused:2]", report("idle", "frozen", 11, 0)},
	} {
		before := deploys.counts
		had := fmt.Sprint(before)
		step.happens()
		if got := fmt.Sprint(deploys.counts); got != step.want {
			t.Errorf("%s: %s, not %s", step.what, got, step.want)
		}
		if fmt.Sprint(before) != had {
			t.Errorf("%s: counts held by others are changed", step.what)
		}
	}
}
