package supervisor

import (
	"strings"
	"testing"
	"time"

	"pgo/proto"
)

// No more of a worker's report is kept than workers have to say.
func TestReportsAreBounded(t *testing.T) {
	v := newView()
	commit := strings.Repeat("a1", 20)
	many := make([]string, 10_000)
	state := &proto.State{
		Details: many, Unwell: many, Warnings: many, Ports: make([]*proto.UsedPort, 10_000), OnHost: make([]*proto.HostContainer, 10_000),
		Head: commit, Deployed: "\u65e5\u672c\u8a9e", Pinned: commit + "0",
	}
	v.reported(&proto.ReportReply{State: state})
	got := v.get().report
	for name, n := range map[string][2]int{
		"details": {cap(got.GetDetails()), maxShownLines}, "unwell": {cap(got.GetUnwell()), maxShownLines}, "warnings": {cap(got.GetWarnings()), maxShownLines},
		"ports": {cap(got.GetPorts()), maxUsedPorts}, "containers": {cap(got.GetOnHost()), maxUsedPorts},
	} {
		if n[0] > 2*n[1] {
			t.Errorf("%s: %d are kept", name, n[0])
		}
	}
	if got.GetHead() != commit || got.GetDeployed() != "" || got.GetPinned() != "" {
		t.Errorf("the commits are %q, %q and %q", got.GetHead(), got.GetDeployed(), got.GetPinned())
	}
}

// A command waits for a worker that is being started, and not for one that has failed.
func TestCommandsWaitForAStart(t *testing.T) {
	v := newView()
	got := make(chan snapshot)
	go func() { got <- v.started(t.Context()) }()
	select {
	case s := <-got:
		t.Fatalf("it did not wait: %+v", s)
	case <-time.After(20 * time.Millisecond):
	}
	v.enter(ready, nil, restartCount{})
	if s := <-got; s.state != ready {
		t.Errorf("it goes on with a worker that is %s", s.state)
	}
	v.enter(backoff, nil, restartCount{})
	v.down(errNoWorker, time.Now())
	v.enter(starting, nil, restartCount{})
	if s := v.started(t.Context()); s.state != starting || s.err == nil {
		t.Errorf("it waited for a worker that has failed before: %+v", s)
	}
}
