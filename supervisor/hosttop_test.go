package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"pgo/internal/config"
	"pgo/internal/hoststat"
	"pgo/internal/sshd"
	"pgo/internal/target"
	"pgo/proto"
)

func TestTopTable(t *testing.T) {
	cpu := 12.34
	snapshot := hoststat.Snapshot{
		Time: statusNow, Host: hoststat.Host{Name: "web1", Load: 1.5}, ConfigError: &hoststat.Error{Text: "pgo.toml:3: bad"},
		Services: []hoststat.Service{
			{
				Name: "web", State: hoststat.Running, Deployed: "aaaaaaaaaa", DeployedAt: statusNow.Add(-3 * time.Hour), Worker: hoststat.Worker{State: "ready"},
				Usage: &hoststat.Usage{CPU: &cpu, Memory: 5 << 20, Running: 1, Restarts: 4, Containers: make([]hoststat.Container, 2)},
			},
			{Name: "db", State: hoststat.Crashloop, Worker: hoststat.Worker{State: "backoff", Crashloop: true}, Error: &hoststat.Error{Text: strings.Repeat("e", 500)}},
		},
	}
	want := `SERVICE  STATE      COMMIT   AGE    CPU    MEMORY   RUNNING  RESTARTS  WORKER              ERROR
web      running    aaaaaaa  3h00m  12.3%  5.00MiB  1/2      4         ready               -
db       crashloop  -        -      -      -        -        -         backoff, crashloop  ` + strings.Repeat("e", maxTrouble) + `…

The newest configuration is not in force: pgo.toml:3: bad
`
	if got := topText(snapshot, false, false, true); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := topText(snapshot, false, false, false); got != "web1, 2026-05-04T12:00:00Z, load 1.50\n\n"+want+"\n" {
		t.Errorf("one of many:\n%s", got)
	}
	if got := topText(snapshot, false, true, false); !strings.HasPrefix(got, "\x1b[H\x1b[2Jweb1, ") || !strings.Contains(got, "\x1b[32mrunning\x1b[0m    aaaaaaa") {
		t.Errorf("on a terminal:\n%q", got)
	}
	var back hoststat.Snapshot
	if err := json.Unmarshal([]byte(topText(snapshot, true, true, false)), &back); err != nil || back.Services[0].Usage.Memory != 5<<20 {
		t.Errorf("as JSON: %v, %+v", err, back)
	}
}

// tellingWorker is a worker's process that can only report usage.
type tellingWorker struct {
	proto.WorkerClient
	usage func(context.Context) (*proto.UsageReply, error)
}

func (w tellingWorker) Usage(ctx context.Context, _ *proto.UsageRequest, _ ...grpc.CallOption) (*proto.UsageReply, error) {
	return w.usage(ctx)
}

// A worker that does not answer delays others only until its deadline.
func TestUsagesHaveADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := func(name string, usage func(context.Context) (*proto.UsageReply, error)) seen {
			return seen{config.Service{Name: name}, snapshot{state: ready, process: &process{rpc: tellingWorker{usage: usage}}, report: &proto.State{}}}
		}
		services := []seen{
			worker("hangs", func(ctx context.Context) (*proto.UsageReply, error) { <-ctx.Done(); return nil, ctx.Err() }),
			worker("fails", func(context.Context) (*proto.UsageReply, error) { return nil, errors.New("the engine is down") }),
			worker("tells", func(context.Context) (*proto.UsageReply, error) { return &proto.UsageReply{AtNs: 1}, nil }),
			{config.Service{Name: "down"}, snapshot{state: backoff, report: &proto.State{}}},
		}
		begun := time.Now()
		told := readUsages(t.Context(), services, usageTimeout)
		if took := time.Since(begun); took != usageTimeout {
			t.Errorf("it took %s", took)
		}
		if len(told) != 1 || told["tells"].reply.GetAtNs() != 1 {
			t.Errorf("told: %v", told)
		}
	})
}

// leaver reads some snapshots and disconnects.
type leaver struct {
	read  bytes.Buffer
	reads int
	leave context.CancelFunc
}

func (l *leaver) Write(p []byte) (int, error) {
	if l.reads--; l.reads == 0 {
		l.leave()
	}
	return l.read.Write(p)
}

// top continues until the client disconnects or pgod stops.
func TestTopGoesOn(t *testing.T) {
	s := newSupervisor(t)
	asJSON := target.Args{Given: []target.Given{{Flag: "--json"}}}
	ctx, leave := context.WithCancel(t.Context())
	out := &leaver{reads: 2, leave: leave}
	if exit := s.host.top(ctx, sshd.Command{Stdout: out}, asJSON); exit != (sshd.Exit{}) {
		t.Errorf("exit %+v", exit)
	}
	lines := strings.Split(strings.TrimSpace(out.read.String()), "\n")
	for _, line := range lines {
		var snapshot hoststat.Snapshot
		if err := json.Unmarshal([]byte(line), &snapshot); err != nil || snapshot.Host.Cores == 0 || snapshot.Host.Memory == 0 || snapshot.Services == nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if len(lines) != 2 {
		t.Errorf("%d snapshots", len(lines))
	}

	stops := &leaver{reads: 1, leave: func() { s.Close(t.Context()) }}
	if exit := s.host.top(t.Context(), sshd.Command{Stdout: stops}, asJSON); exit != stopping {
		t.Errorf("exit %+v", exit)
	}
}
