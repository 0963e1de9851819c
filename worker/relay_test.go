package worker

import (
	"testing"
	"time"

	"pgo/proto"
)

func piece(text string) *proto.RunReply { return toStdout([]byte(text)) }

func TestRelayKeepsTheOrder(t *testing.T) {
	var got string
	r := newRelay(func(p *proto.RunReply) error {
		got += string(p.GetStdout())
		return nil
	}, time.Minute)
	want := ""
	for range 3 * relayLength {
		r.send(piece("x"))
		want += "x"
	}
	if r.close() || got != want {
		t.Errorf("%d of %d pieces came", len(got), len(want))
	}
}

// A client that reads nothing loses output and does not hold up anybody.
func TestRelayDropsForAStuckClient(t *testing.T) {
	stuck := make(chan struct{})
	r := newRelay(func(*proto.RunReply) error {
		<-stuck
		return nil
	}, time.Millisecond)
	for range 10 * relayLength {
		r.send(piece("x"))
	}
	close(stuck)
	if !r.close() {
		t.Error("nothing was dropped, although nothing was read")
	}
}
