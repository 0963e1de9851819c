package supervisor

import (
	"maps"

	"pgo/internal/hoststat"
	"pgo/proto"
)

// tally counts the deploys of a service that have ended while this pgod looked on. It
// sees the worker's reports alone, of which one that was replaced at once is never
// sent: of two deploys in a row it may see the last.
type tally struct {
	counts map[hoststat.Outcome]uint64

	known    bool // what follows is that of the present worker's last report between two changes
	outcome  hoststat.Outcome
	since    int64 // of its error
	deployed int64 // when the newest good deploy was good
}

// again is called when another worker reports from now on: what it reports first is not
// news, since a worker that was restarted has its errors anew.
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

// add counts one more. The map is never changed, only replaced: others may have it.
func (t *tally) add(outcome hoststat.Outcome) {
	counts := maps.Clone(t.counts)
	if counts == nil {
		counts = map[hoststat.Outcome]uint64{}
	}
	counts[outcome]++
	t.counts = counts
}
