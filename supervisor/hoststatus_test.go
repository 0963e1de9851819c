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

// The most pressing is what is said in one word.
func TestCondition(t *testing.T) {
	up := func(change func(*proto.State)) snapshot {
		s := &proto.State{Wanted: "up", Head: "a", Deployed: "a", Outcome: "deployed", Activity: "idle"}
		change(s)
		return snapshot{state: ready, report: s}
	}
	in := func(s snapshot, state state) snapshot { s.state = state; return s }
	looping := up(func(s *proto.State) { s.Activity = "gate a" })
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
		{hoststat.Deploying, up(func(s *proto.State) { s.Activity, s.Unwell = "gate a", []string{"x"} })},
		{hoststat.Unwell, up(func(s *proto.State) { s.Unwell, s.Outcome, s.Error = []string{"x"}, "refused", "e" })},
		{hoststat.Degraded, up(func(s *proto.State) { s.Outcome, s.Error = "degraded", "e" })},
		{hoststat.Refused, up(func(s *proto.State) { s.Outcome, s.Frozen = "refused", "ada" })},
		{hoststat.Failed, up(func(s *proto.State) { s.Wanted, s.Outcome, s.Error = "down", "failed", "e" })},
		{hoststat.Down, up(func(s *proto.State) { s.Wanted, s.Outcome, s.Error = "down", "down", "cannot look" })},
		{hoststat.Down, up(func(s *proto.State) { s.Wanted = "down" })},
		{hoststat.Frozen, up(func(s *proto.State) { s.Frozen = "ada" })},
		{hoststat.Held, up(func(s *proto.State) { s.Outcome = "held" })},
		{hoststat.Stale, up(func(s *proto.State) { s.Error = "cannot look" })},
		{hoststat.Failed, up(func(s *proto.State) { s.Deployed, s.Outcome, s.Error = "", "", "cannot look" })},
		{hoststat.Failed, snapshot{state: ready, report: &proto.State{Error: "cannot open the service"}}},
		{hoststat.Starting, up(func(s *proto.State) { s.Outcome = "of a later build" })},
	} {
		if got := test.snapshot.condition(statusNow); got != test.want {
			t.Errorf("%s, not %s: %s %v", got, test.want, test.snapshot.state, test.snapshot.report)
		}
	}
}

func someServices() []seen {
	return []seen{
		{config.Service{Name: "a-long-name"}, snapshot{state: ready, report: &proto.State{
			Wanted: "up", Head: "aaaaaaaaaa", Deployed: "aaaaaaaaaa", DeployedAt: ago(3 * time.Minute), Outcome: "deployed", Activity: "idle",
		}}},
		{config.Service{Name: "b"}, snapshot{state: ready, restarts: restartCount{total: 2}, report: &proto.State{
			Wanted: "up", Head: "cccccccccc", Deployed: "bbbbbbbbbb", DeployedAt: ago(50 * time.Hour), Outcome: "refused",
			Error: "cannot start\n\x1b[2J ccccccc " + strings.Repeat("é", 200),
		}}},
		{config.Service{Name: "c"}, snapshot{state: backoff, err: errors.New("there is no user c"), report: &proto.State{}}},
	}
}

func TestStatusTable(t *testing.T) {
	plain, colored := statusTable(someServices(), statusNow).text(false), statusTable(someServices(), statusNow).text(true)
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
	// But for the colours it is the same.
	bare := strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[0m", "").Replace(colored)
	if bare != plain {
		t.Errorf("without colours it is\n%s\nnot\n%s", bare, plain)
	}
}

// The service's own status has colours in the same two places.
func TestStatusHasColors(t *testing.T) {
	var colored bytes.Buffer
	i := &instance{service: config.Service{Name: "b"}}
	i.status(someServices()[1].snapshot, statusNow).write(&colored, true)
	for _, line := range []string{"state:     \x1b[31mrefused\x1b[0m\n", "worker:    \x1b[32mready\x1b[0m, restarts: 2\n"} {
		if !strings.Contains(colored.String(), line) {
			t.Errorf("there is no %q in %q", line, colored.String())
		}
	}
	if n := strings.Count(colored.String(), "\x1b["); n != 4 {
		t.Errorf("%d escapes in %q", n, colored.String())
	}
}

// What is wrong with the configuration on disk stands below, until one is applied.
func TestHostStatusTellsOfABadConfiguration(t *testing.T) {
	s := newSupervisor(t)
	show := func(args target.Args) string {
		var out bytes.Buffer
		if exit := s.showHostStatus(t.Context(), sshd.Command{Stdout: &out}, args); exit.Status != 0 {
			t.Errorf("exit %+v", exit)
		}
		return out.String()
	}
	asJSON := target.Args{Given: []target.Given{{Flag: "--json"}}}
	if got := show(asJSON); got != `{"services":[]}`+"\n" {
		t.Errorf("got %s", got)
	}
	s.Rejected(errors.New("pgo.toml:3: name: \x1b[2J\npgo.toml:4: user: missing"))
	want := "; the old one stays in force:\n  pgo.toml:3: name: \\x1b[2J\n  pgo.toml:4: user: missing\n"
	if got := show(target.Args{}); !strings.HasSuffix(got, want) {
		t.Errorf("got %s", got)
	}
	var status struct {
		ConfigError struct {
			Text    string
			Since   time.Time
			Details []string
		} `json:"config_error"`
	}
	if err := json.Unmarshal([]byte(show(asJSON)), &status); err != nil {
		t.Fatal(err)
	}
	if e := status.ConfigError; e.Text != `pgo.toml:3: name: \x1b[2J` || len(e.Details) != 2 || e.Since.IsZero() {
		t.Errorf("got %+v", e)
	}
	s.Apply(nil, nil, 0)
	if got := show(asJSON); got != `{"services":[]}`+"\n" {
		t.Errorf("after another one: %s", got)
	}
}
