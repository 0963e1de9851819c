package worker

import (
	"errors"
	"io"
	"sync"

	"pgo/proto"
	"pgo/worker/compose"
)

// pieceSize is how much output may wait while the previous piece is being sent.
const pieceSize = 128 << 10

// pieces passes a reader's output on to its client. The output that arrives while one piece
// is sent becomes the next piece: a message for each line would cost more than its content.
// Nothing waits for a piece to be full. A client that reads slowly slows the writer down.
type pieces struct {
	send func(*proto.RunReply) error
	done chan struct{}

	mu      sync.Mutex // guards the fields below
	changed *sync.Cond
	next    []byte // the piece that is being filled
	stderr  bool   // which stream it belongs to
	closed  bool   // nothing more will come
	err     error  // the client is gone
}

func newPieces(send func(*proto.RunReply) error) *pieces {
	p := &pieces{send: send, done: make(chan struct{})}
	p.changed = sync.NewCond(&p.mu)
	go p.run()
	return p
}

// output returns an output whose streams may each be written to by one goroutine.
func (p *pieces) output() compose.Output {
	writer := func(stderr bool) io.Writer {
		return writerFunc(func(b []byte) (int, error) { return p.write(stderr, b) })
	}
	return compose.Output{Stdout: writer(false), Stderr: writer(true)}
}

func (p *pieces) write(stderr bool, b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil && len(p.next) > 0 && (p.stderr != stderr || len(p.next)+len(b) > pieceSize) {
		p.changed.Wait()
	}
	if p.err != nil {
		return 0, p.err
	}
	p.next, p.stderr = append(p.next, b...), stderr
	p.changed.Broadcast()
	return len(b), nil
}

// run sends one piece after another until close is called or the client is gone.
func (p *pieces) run() {
	defer close(p.done)
	var sent []byte // the previous piece, whose memory is reused
	for {
		piece, stderr := p.take(sent[:0])
		if len(piece) == 0 {
			return
		}
		reply := toStdout(piece)
		if stderr {
			reply = toStderr(piece)
		}
		if err := p.send(reply); err != nil {
			p.fail(err)
			return
		}
		sent = piece // gRPC has made a copy
	}
}

// take waits for a piece and leaves an empty one to be filled.
func (p *pieces) take(empty []byte) (piece []byte, stderr bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.next) == 0 && !p.closed {
		p.changed.Wait()
	}
	piece, p.next = p.next, empty
	p.changed.Broadcast()
	return piece, p.stderr
}

func (p *pieces) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	p.changed.Broadcast()
}

// errClosed is the error of a write after the end.
var errClosed = errors.New("the operation has ended")

// close waits until the client has everything that was written. Later writes are refused.
func (p *pieces) close() {
	p.mu.Lock()
	p.closed = true
	p.changed.Broadcast()
	p.mu.Unlock()
	<-p.done
	p.fail(errClosed)
}
