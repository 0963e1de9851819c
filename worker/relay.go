package worker

import (
	"time"

	"pgo/proto"
)

const (
	// relayLength is how many pieces of output may wait for a client.
	relayLength = 256
	// relayPatience is how long a client may read nothing before its output is
	// dropped.
	relayPatience = 5 * time.Second
)

// relay passes a change's output on to its client. A client that stops reading loses
// output: it must not hold up the change, since others wait for it.
type relay struct {
	pieces   chan *proto.RunReply
	done     chan struct{}
	patience time.Duration
	dropped  bool // accessed by the sender alone, then by close
}

// newRelay returns a relay to send, which may block.
func newRelay(send func(*proto.RunReply) error, patience time.Duration) *relay {
	r := &relay{pieces: make(chan *proto.RunReply, relayLength), done: make(chan struct{}), patience: patience}
	go func() {
		defer close(r.done)
		for piece := range r.pieces {
			_ = send(piece) // fails if the client has left; the change goes on
		}
	}()
	return r
}

// send never blocks for long. Calls must not overlap.
func (r *relay) send(piece *proto.RunReply) {
	if r.dropped {
		return
	}
	select {
	case r.pieces <- piece:
		return
	default:
	}
	timer := time.NewTimer(r.patience)
	defer timer.Stop()
	select {
	case r.pieces <- piece:
	case <-timer.C:
		r.dropped = true
	}
}

// close waits until the client has what was sent, however long that takes, and reports
// whether something was dropped. The change has ended by then.
func (r *relay) close() (dropped bool) {
	close(r.pieces)
	<-r.done
	return r.dropped
}
