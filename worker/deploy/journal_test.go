package deploy

import (
	"context"
	"io"
	"strings"
	"testing"
)

// Whoever watches gets the output so far, and then each addition as it is written.
func TestWatch(t *testing.T) {
	var j journal
	j.begin("one")
	_, _ = j.Write([]byte("said before\n"))
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- j.follow(ctx, w); _ = w.Close() }()
	reads := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
			t.Fatalf("read %q, %v, want %q", got, err, want)
		}
	}
	reads("one\nsaid before\n")
	_, _ = j.Write([]byte("said after\n"))
	reads("said after\n")
	j.begin("nothing new")
	j.begin("two")
	_, _ = j.Write([]byte("news\n"))
	reads("two\nnews\n")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The output of a deploy is bounded; whoever comes late gets its end.
func TestJournalIsBounded(t *testing.T) {
	var j journal
	j.begin("long")
	for range 100 {
		_, _ = j.Write([]byte(strings.Repeat("x", 10_000)))
	}
	_, _ = j.Write([]byte("the end"))
	text, _, _, _ := j.after(-1, 0)
	if len(text) > 2*maxJournal || !strings.HasSuffix(string(text), "the end") {
		t.Errorf("%d bytes, ending in %q", len(text), text[len(text)-10:])
	}
}

func TestJournalOutlivesTheWorker(t *testing.T) {
	dir := t.TempDir()
	var j, again journal
	j.begin("one")
	_, _ = j.Write([]byte("said\n"))
	if err := j.save(dir); err != nil {
		t.Fatal(err)
	}
	again.load(dir)
	if text, _, _, _ := again.after(-1, 0); string(text) != "one\nsaid\n" {
		t.Errorf("%q", text)
	}
}
