package worker

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"

	"pgo/proto"
)

// Everything that is written arrives, in order, however it is cut into pieces.
func TestPiecesKeepTheOrder(t *testing.T) {
	var got []string
	hold := make(chan struct{})
	p := newPieces(func(r *proto.RunReply) error {
		<-hold
		if b := r.GetStderr(); len(b) > 0 {
			got = append(got, "err "+string(b))
		} else {
			got = append(got, "out "+string(r.GetStdout()))
		}
		return nil
	})
	out := p.output()
	written := make(chan struct{})
	go func() {
		defer close(written)
		for _, w := range []io.Writer{out.Stdout, out.Stdout, out.Stderr, out.Stdout} {
			_, _ = io.WriteString(w, "a")
		}
	}()
	close(hold)
	<-written
	p.close()
	joined := ""
	for _, piece := range got {
		joined += piece + "|"
	}
	if joined != "out a|out a|err a|out a|" && joined != "out aa|err a|out a|" {
		t.Errorf("the output came as %q", joined)
	}
}

// The output that arrives while a piece is sent becomes the next piece.
func TestPiecesGrowWhileOneIsSent(t *testing.T) {
	sending, goOn := make(chan int), make(chan struct{})
	p := newPieces(func(r *proto.RunReply) error {
		sending <- len(r.GetStdout())
		<-goOn
		return nil
	})
	out := p.output()
	line := bytes.Repeat([]byte("x"), 1000)
	_, _ = out.Stdout.Write(line)
	if n := <-sending; n != 1000 {
		t.Errorf("the first piece has %d bytes", n)
	}
	for range 100 {
		_, _ = out.Stdout.Write(line) // does not block, though nothing is taken
	}
	goOn <- struct{}{}
	if n := <-sending; n != 100_000 {
		t.Errorf("the second piece has %d bytes", n)
	}
	close(goOn)
	p.close()
}

// A client that takes nothing blocks the writer, and one that is gone ends it.
func TestPiecesHoldTheWriter(t *testing.T) {
	gone := errors.New("gone")
	hold := make(chan struct{})
	p := newPieces(func(*proto.RunReply) error {
		<-hold
		return gone
	})
	out := p.output()
	var mu sync.Mutex
	total := 0
	ended := make(chan error)
	go func() {
		for {
			n, err := out.Stdout.Write(make([]byte, 32<<10))
			mu.Lock()
			total += n
			mu.Unlock()
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	close(hold)
	if err := <-ended; !errors.Is(err, gone) {
		t.Errorf("the writer ended with %v", err)
	}
	if total > 2*pieceSize+(32<<10) {
		t.Errorf("the writer wrote %d bytes, although nothing was read", total)
	}
	p.close()
}
