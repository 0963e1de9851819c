package supervisor

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pgo/internal/config"
	"pgo/internal/hoststat"
	"pgo/internal/sshd"
	"pgo/internal/target"
	"pgo/proto"
)

// The state is the most pressing condition.
func TestCondition(t *testing.T) {
	up := func(change func(*proto.State)) snapshot {
		s := &proto.State{Wanted: proto.State_WANTED_UP, Head: "a", Deployed: "a", Outcome: proto.State_OUTCOME_DEPLOYED, Activity: proto.State_ACTIVITY_IDLE}
		change(s)
		return snapshot{state: ready, report: s}
	}
	in := func(s snapshot, state state) snapshot { s.state = state; return s }
	looping := up(func(s *proto.State) { s.Activity, s.Step = proto.State_ACTIVITY_BUSY, "gate a" })
	looping.restarts.recent = []time.Time{statusNow, statusNow, statusNow, statusNow, statusNow}
	nothing := snapshot{state: starting, report: &proto.State{}}
	for _, test := range []struct {
		want     hoststat.State
		snapshot snapshot
	}{
		{hoststat.Starting, nothing},
		{hoststat.Starting, in(nothing, ready)},
		{hoststat.NoWorker, in(nothing, backoff)},
		{hoststat.Running, up(func(*proto.State) {})},
		{hoststat.Running, in(up(func(*proto.State) {}), draining)},
		{hoststat.NoWorker, in(up(func(*proto.State) {}), killing)},
		{hoststat.Crashloop, looping},
		{hoststat.Deploying, up(func(s *proto.State) { s.Activity, s.Unwell = proto.State_ACTIVITY_BUSY, []string{"x"} })},
		{hoststat.Unwell, up(func(s *proto.State) { s.Unwell, s.Outcome, s.Error = []string{"x"}, proto.State_OUTCOME_REFUSED, "e" })},
		{hoststat.Degraded, up(func(s *proto.State) { s.Outcome, s.Error = proto.State_OUTCOME_DEGRADED, "e" })},
		{hoststat.Refused, up(func(s *proto.State) { s.Outcome, s.Frozen = proto.State_OUTCOME_REFUSED, "ada" })},
		{hoststat.Failed, up(func(s *proto.State) {
			s.Wanted, s.Outcome, s.Error = proto.State_WANTED_DOWN, proto.State_OUTCOME_FAILED, "e"
		})},
		{hoststat.Down, up(func(s *proto.State) {
			s.Wanted, s.Outcome, s.Error = proto.State_WANTED_DOWN, proto.State_OUTCOME_DOWN, "cannot look"
		})},
		{hoststat.Down, up(func(s *proto.State) { s.Wanted = proto.State_WANTED_DOWN })},
		{hoststat.Frozen, up(func(s *proto.State) { s.Frozen = "ada" })},
		{hoststat.Held, up(func(s *proto.State) { s.Outcome = proto.State_OUTCOME_HELD })},
		{hoststat.Stale, up(func(s *proto.State) { s.Error = "cannot look" })},
		{hoststat.Failed, up(func(s *proto.State) { s.Deployed, s.Outcome, s.Error = "", 0, "cannot look" })},
		{hoststat.Failed, snapshot{state: ready, report: &proto.State{Error: "cannot open the service"}}},
		{hoststat.Starting, up(func(s *proto.State) { s.Outcome = 99 })},
	} {
		if got := (seen{snapshot: test.snapshot}).status(statusNow).State; got != test.want {
			t.Errorf("%s, not %s: %s %v", got, test.want, test.snapshot.state, test.snapshot.report)
		}
	}
}

func someServices() []seen {
	return []seen{
		{config.Service{Name: "a-long-name"}, snapshot{state: ready, report: &proto.State{
			Wanted: proto.State_WANTED_UP, Head: "aaaaaaaaaa", Deployed: "aaaaaaaaaa", DeployedAt: ago(3 * time.Minute), Outcome: proto.State_OUTCOME_DEPLOYED, Activity: proto.State_ACTIVITY_IDLE,
		}}},
		{config.Service{Name: "b"}, snapshot{state: ready, restarts: restartCount{total: 2}, report: &proto.State{
			Wanted: proto.State_WANTED_UP, Head: "cccccccccc", Deployed: "bbbbbbbbbb", DeployedAt: ago(50 * time.Hour), Outcome: proto.State_OUTCOME_REFUSED,
			Error: "cannot start\n\x1b[2J ccccccc " + strings.Repeat("é", 200),
		}}},
		{config.Service{Name: "c"}, snapshot{state: backoff, err: errors.New("there is no user c"), report: &proto.State{}}},
	}
}

func TestStatusTable(t *testing.T) {
	shown := hoststat.Snapshot{Time: statusNow}
	for _, one := range someServices() {
		shown.Services = append(shown.Services, one.status(statusNow))
	}
	plain, colored := statusTable(shown).Text(false), statusTable(shown).Text(true)
	want := `
SERVICE      STATE      DEPLOYED  AGE    HEAD     LAST      WORKER   PID  RESTARTS  ERROR
a-long-name  running    aaaaaaa   3m00s  aaaaaaa  deployed  ready    -    0         -
b            refused    bbbbbbb   2d     ccccccc  refused   ready    -    2         cannot start\n\x1b[2J ccccccc ` + strings.Repeat("é", 35) + `…
c            no-worker  -         -      -        -         backoff  -    0         the worker is down: there is no user c
`
	if got := "\n" + plain; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for _, part := range []string{"\x1b[32mrunning\x1b[0m    a", "\x1b[31mrefused\x1b[0m    b", "\x1b[32mready\x1b[0m    -", "\x1b[31mbackoff\x1b[0m  -"} {
		if !strings.Contains(colored, part) {
			t.Errorf("there is no %q in %q", part, colored)
		}
	}
	// Without the colours it is the same.
	bare := strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[0m", "").Replace(colored)
	if bare != plain {
		t.Errorf("without colours, got\n%s\nwant\n%s", bare, plain)
	}
}

// The service's own status has colours in the same two places.
func TestStatusHasColors(t *testing.T) {
	status := someServices()[1].status(statusNow)
	colored := status.Rows(statusNow).Text(true)
	for _, line := range []string{"state:     \x1b[31mrefused\x1b[0m\n", "worker:    \x1b[32mready\x1b[0m, restarts: 2\n"} {
		if !strings.Contains(colored, line) {
			t.Errorf("there is no %q in %q", line, colored)
		}
	}
	if n := strings.Count(colored, "\x1b["); n != 4 {
		t.Errorf("%d escapes in %q", n, colored)
	}
}

// Mistakes in the configuration on disk are shown below the table, until one is applied.
func TestHostStatusTellsOfABadConfiguration(t *testing.T) {
	s := newSupervisor(t)
	show := func(args target.Args) string {
		var out bytes.Buffer
		if exit := s.host.showStatus(t.Context(), sshd.Command{Stdout: &out}, args); exit.Status != 0 {
			t.Errorf("exit %+v", exit)
		}
		return out.String()
	}
	asJSON := target.Args{Given: []target.Given{{Flag: "--json"}}}
	if got := show(asJSON); !strings.Contains(got, `"services":[]`) || strings.Contains(got, "config_error") {
		t.Errorf("got %s", got)
	}
	s.Configuration.Rejected(errors.New("pgo.toml:3: name: \x1b[2J\npgo.toml:4: user: missing"))
	want := "; the old one stays in force:\n  pgo.toml:3: name: \\x1b[2J\n  pgo.toml:4: user: missing\n"
	if got := show(target.Args{}); !strings.HasSuffix(got, want) {
		t.Errorf("got %s", got)
	}
	var status hoststat.Snapshot
	if err := json.Unmarshal([]byte(show(asJSON)), &status); err != nil {
		t.Fatal(err)
	}
	if e := status.ConfigError; e == nil || e.Text != `pgo.toml:3: name: \x1b[2J` || len(e.Details) != 2 || e.Since.IsZero() {
		t.Errorf("got %+v", e)
	}
	s.Apply(nil, nil, 0)
	if got := show(asJSON); strings.Contains(got, "config_error") {
		t.Errorf("after another one: %s", got)
	}
}
