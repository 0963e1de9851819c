package supervisor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"pgo/internal/config"
	"pgo/internal/hoststat"
	"pgo/internal/procgroup"
	"pgo/internal/sshd"
	"pgo/internal/target"
	"pgo/proto"
)

var statusNow = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) int64 { return statusNow.Add(-d).Unix() }

// statuses are snapshots and how they are shown.
var statuses = []struct {
	name, text, json string
	snapshot         snapshot
}{
	{
		name:     "nothing is known yet",
		snapshot: snapshot{state: starting, report: &proto.State{}},
		text: `
service:   web
state:     starting
wanted:    -
deployed:  -
head:      -
last:      -
now:       -
worker:    starting, restarts: 0
`,
		json: `{"service":"web","user":"alice","state":"starting","worker":{"state":"starting","restarts":0,"crashloop":false}}`,
	},
	{
		name: "all is well",
		snapshot: snapshot{state: ready, restarts: restartCount{total: 1}, report: &proto.State{
			Wanted: proto.State_WANTED_UP, Head: "aaaaaaaaaaaaaaaa", Deployed: "aaaaaaaaaaaaaaaa", DeployedAt: ago(3 * time.Second),
			Trigger: "poll", Reason: "first deploy", Outcome: proto.State_OUTCOME_DEPLOYED, Activity: proto.State_ACTIVITY_IDLE, NextPoll: ago(-48 * time.Second),
		}},
		text: `
service:   web
state:     running
wanted:    up
deployed:  aaaaaaa, 3s ago, poll: first deploy
head:      aaaaaaa
last:      deployed
now:       idle, next poll in 48s
worker:    ready, restarts: 1
`,
		json: `{"service":"web","user":"alice","state":"running","wanted":"up","head":"aaaaaaaaaaaaaaaa","deployed":"aaaaaaaaaaaaaaaa",` +
			`"deployed_at":"2026-05-04T11:59:57Z","trigger":"poll","reason":"first deploy","outcome":"deployed","activity":"idle",` +
			`"next_poll":"2026-05-04T12:00:48Z","worker":{"state":"ready","restarts":1,"crashloop":false}}`,
	},
	{
		name: "frozen, pinned, refused and unwell",
		snapshot: snapshot{state: ready, report: &proto.State{
			Wanted: proto.State_WANTED_DOWN, Head: "bbbbbbbbbbbbbbbb", Deployed: "aaaaaaaaaaaaaaaa", DeployedAt: ago(time.Hour), Reason: "up by ada",
			Frozen: "ada: <holidays>", FrozenSince: ago(time.Minute), Pinned: "cccccccccccccccc", PinnedUntil: ago(-29 * time.Minute),
			Outcome: proto.State_OUTCOME_REFUSED, Error: "cannot deploy bbbbbbb: it is refused", ErrorSince: ago(41 * time.Second),
			Details: []string{`services.web.privileged: true is refused (allow = ["privileged"])`, "\x1b[2J\u009bforged\nerror: none"},
			Unwell:  []string{"web-1: exited (1)", "db-1: unhealthy"},
		}},
		text: `
service:   web
state:     unwell
wanted:    down
deployed:  aaaaaaa, 1h0m0s ago, up by ada (taken down)
head:      bbbbbbb
frozen:    ada: <holidays> (for 1m0s)
pinned:    ccccccc, for another 29m0s
last:      refused
now:       -
worker:    ready, restarts: 0
unwell:    web-1: exited (1)
           db-1: unhealthy
error:     cannot deploy bbbbbbb: it is refused (for 41s)
           services.web.privileged: true is refused (allow = ["privileged"])
           \x1b[2J\u009bforged\nerror: none
`,
		json: `{"service":"web","user":"alice","state":"unwell","wanted":"down","head":"bbbbbbbbbbbbbbbb","deployed":"aaaaaaaaaaaaaaaa",` +
			`"deployed_at":"2026-05-04T11:00:00Z","reason":"up by ada","outcome":"refused",` +
			`"frozen":{"reason":"ada: <holidays>","since":"2026-05-04T11:59:00Z"},"pinned":{"commit":"cccccccccccccccc","until":"2026-05-04T12:29:00Z"},` +
			`"worker":{"state":"ready","restarts":0,"crashloop":false},` +
			`"error":{"text":"cannot deploy bbbbbbb: it is refused","since":"2026-05-04T11:59:19Z","details":[` +
			`"services.web.privileged: true is refused (allow = [\"privileged\"])","\\x1b[2J\\u009bforged\\nerror: none"]},` +
			`"unwell":["web-1: exited (1)","db-1: unhealthy"]}`,
	},
	{
		// Its times cannot be encoded: they must not cost the whole status.
		name: "a worker that lies",
		snapshot: snapshot{state: ready, report: &proto.State{
			Wanted: 99, Outcome: -1, Activity: 99, Deployed: "a", DeployedAt: -1 << 62, NextPoll: 1 << 62, Error: "x", ErrorSince: 1 << 62,
			Proxy: &proto.ProxyState{Reload: 99},
		}},
		json: `{"service":"web","user":"alice","state":"deploying","wanted":"unknown","deployed":"a","outcome":"unknown","activity":"unknown",` +
			`"worker":{"state":"ready","restarts":0,"crashloop":false},"error":{"text":"x"},"proxy":{"import":"","reload":"unknown"}}`,
	},
	{
		name: "no worker",
		snapshot: snapshot{
			state: backoff, err: errors.New("the worker ended: exit status 2"), retry: statusNow.Add(1500 * time.Millisecond), report: &proto.State{},
			restarts: restartCount{total: 9, recent: []time.Time{statusNow, statusNow, statusNow, statusNow, statusNow}},
		},
		json: `{"service":"web","user":"alice","state":"crashloop","worker":{"state":"backoff","restarts":9,"crashloop":true,` +
			`"error":"the worker ended: exit status 2","retry_at":"2026-05-04T12:00:01.5Z"}}`,
	},
}

func TestStatus(t *testing.T) {
	web := config.Service{Name: "web", User: "alice"}
	for _, test := range statuses {
		t.Run(test.name, func(t *testing.T) {
			status := seen{web, test.snapshot}.status(statusNow)
			text := status.Rows(statusNow).Text(false)
			if want := strings.TrimPrefix(test.text, "\n"); want != "" && text != want {
				t.Errorf("got\n%s\nwant\n%s", text, want)
			}
		})
	}
}

func TestStatusJSON(t *testing.T) {
	web := config.Service{Name: "web", User: "alice"}
	for _, test := range statuses {
		t.Run(test.name, func(t *testing.T) {
			if got := hoststat.Encode(seen{web, test.snapshot}.status(statusNow)); got != test.json+"\n" {
				t.Errorf("got\n%s\nwant\n%s", got, test.json)
			}
		})
	}
}

// The words that a worker can report are documented, and are those that pgod works with.
func TestWordsOfWorkers(t *testing.T) {
	page, err := os.ReadFile("../docs/status-json.md")
	if err != nil {
		t.Fatal(err)
	}
	words := func(e protoreflect.Enum) []string {
		var all []string
		for i := range e.Descriptor().Values().Len() - 1 {
			word := proto.Word(e.Type().New(protoreflect.EnumNumber(i + 1)))
			if all = append(all, word); !strings.Contains(string(page), "`"+word+"`") {
				t.Errorf("docs/status-json.md does not have %q", word)
			}
		}
		return all
	}
	words(proto.ProxyState_RELOAD_UNSPECIFIED)
	words(proto.ContainerUsage_STATE_UNSPECIFIED)
	words(proto.ContainerUsage_HEALTH_UNSPECIFIED)
	if got, want := fmt.Sprint(words(proto.State_WANTED_UNSPECIFIED)), fmt.Sprint([]hoststat.Wanted{hoststat.WantedUp, hoststat.WantedDown}); got != want {
		t.Errorf("what is wanted can be %s, not %s", got, want)
	}
	if got, want := fmt.Sprint(words(proto.State_OUTCOME_UNSPECIFIED)), fmt.Sprint(hoststat.Outcomes()); got != want {
		t.Errorf("outcomes are %s, not %s", got, want)
	}
}

// asleep returns a process that has only a pid.
func asleep(t *testing.T) *process {
	t.Helper()
	group, err := procgroup.Start(exec.Command("sleep", "600"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{runner: &runner{group: group}, since: statusNow}
	t.Cleanup(p.runner.abort)
	return p
}

// The process of a worker is shown with its pid, and --json chooses the form.
func TestShowStatus(t *testing.T) {
	p := asleep(t)
	i := newInstance(newSupervisor(t).launcher, config.Service{Name: "web"}, nil)
	i.view.enter(ready, p, restartCount{})
	show := func(args target.Args) string {
		var out bytes.Buffer
		if exit := i.showStatus(sshd.Command{Stdout: &out}, args); exit.Status != 0 {
			t.Errorf("exit %+v", exit)
		}
		return out.String()
	}
	if text := show(target.Args{}); !strings.Contains(text, "\nworker:    ready, pid ") {
		t.Errorf("got %s", text)
	}
	var status struct{ Worker struct{ PID int } }
	text := show(target.Args{Given: []target.Given{{Flag: "--json"}}})
	if err := json.Unmarshal([]byte(text), &status); err != nil || status.Worker.PID != p.pid() {
		t.Errorf("%v in %s", err, text)
	}
}
