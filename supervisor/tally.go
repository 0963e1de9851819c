package supervisor

import (
	"maps"

	"pgo/internal/hoststat"
	"pgo/proto"
)

// tally counts the deploys of a service that ended while this pgod was running. It sees only the
// worker's reports, and a report that is replaced at once is never sent: of two deploys in a row
// it may see only the last.
type tally struct {
	counts map[hoststat.Outcome]uint64

	known    bool // what follows is from the last report of the present worker between two changes
	outcome  hoststat.Outcome
	since    int64 // of its error
	deployed int64 // when the newest good deploy was made
}

// again is called when another worker begins to report: its first report is not news, since a
// restarted worker finds its errors anew.
func (t *tally) again() { t.known = false }

// count takes a report.
func (t *tally) count(s *proto.State) {
	if s.GetActivity() != proto.State_ACTIVITY_IDLE {
		return // a change is not over before its outcome is reported
	}
	outcome := hoststat.Outcome(proto.Word(s.GetOutcome()))
	switch {
	case !t.known:
	case outcome == hoststat.OutcomeDeployed && s.GetDeployedAt() > t.deployed:
		t.add(outcome)
	case outcome.Bad() && (outcome != t.outcome || s.GetErrorSince() != t.since):
		t.add(outcome)
	}
	t.known, t.outcome, t.since, t.deployed = true, outcome, s.GetErrorSince(), max(t.deployed, s.GetDeployedAt())
}

// add counts one more. The map is never changed, only replaced: others may hold it.
func (t *tally) add(outcome hoststat.Outcome) {
	counts := maps.Clone(t.counts)
	if counts == nil {
		counts = map[hoststat.Outcome]uint64{}
	}
	counts[outcome]++
	t.counts = counts
}
