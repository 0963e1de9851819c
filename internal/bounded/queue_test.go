package bounded_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgo/internal/bounded"
)

// A reader that does not read holds up nobody. Once it reads again, it gets what had room, in
// order, and how much had none.
func TestQueueDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := io.Pipe()
		var q *bounded.Queue
		q = bounded.NewQueue(out, 100, func(n int) { _, _ = fmt.Fprintf(q, "%d dropped\n", n) })
		for i := range 1000 {
			if n, err := fmt.Fprintf(q, "line %03d\n", i); n != 9 || err != nil {
				t.Fatalf("line %d: %d, %v", i, n, err)
			}
			if i == 0 {
				synctest.Wait() // the first one is on its way
			}
		}
		var got bytes.Buffer
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(&got, in)
		}()
		synctest.Wait()
		_, _ = io.WriteString(q, "at last\n")
		synctest.Wait()
		q.Close(time.Minute)
		_ = out.Close()
		<-read
		lines := strings.Split(strings.TrimSpace(got.String()), "\n")
		if want := "988 dropped"; len(lines) != 14 || lines[0] != "line 000" || lines[11] != "line 011" || lines[12] != want || lines[13] != "at last" {
			t.Errorf("the reader got %d lines: %q", len(lines), lines)
		}
	})
}

// However much is written while the reader is slow, it learns how much it has missed.
func TestQueueCountsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := io.Pipe()
		var q *bounded.Queue
		q = bounded.NewQueue(out, 100, func(n int) { _, _ = fmt.Fprintf(q, "dropped %d\n", n) })
		const lines = 10000
		got, missed := 0, 0
		read := make(chan struct{})
		go func() {
			defer close(read)
			for scanner := bufio.NewScanner(in); scanner.Scan(); time.Sleep(time.Second) {
				n := 0
				if _, err := fmt.Sscanf(scanner.Text(), "dropped %d", &n); err == nil {
					missed += n
				} else {
					got++
				}
			}
		}()
		for range lines {
			_, _ = io.WriteString(q, "a line\n")
			time.Sleep(10 * time.Millisecond)
		}
		q.Close(time.Hour)
		_ = out.Close()
		<-read
		if got+missed != lines || missed < lines/2 {
			t.Errorf("%d lines came, and %d are said to be missing", got, missed)
		}
	})
}

// Close waits for what is written, and not for a reader that never comes.
func TestQueueEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := io.Pipe()
		q := bounded.NewQueue(out, 100, func(int) {})
		_, _ = io.WriteString(q, "the end\n")
		begun := time.Now()
		q.Close(time.Second)
		if took := time.Since(begun); took != time.Second {
			t.Errorf("it waited %s", took)
		}
		_, _ = io.WriteString(q, "too late\n")
		got := make([]byte, 100)
		if n, _ := in.Read(got); string(got[:n]) != "the end\n" {
			t.Errorf("read %q", got[:n])
		}
		_ = in.Close() // as a reader that ends: writing fails from now on
		synctest.Wait()
	})
}

// A reader that is gone does not end the writer.
func TestQueueWithoutAReader(t *testing.T) {
	in, out := io.Pipe()
	_ = in.Close()
	q := bounded.NewQueue(out, 100, func(int) { t.Error("something was dropped") })
	for range 3 {
		_, _ = io.WriteString(q, "text\n")
	}
	q.Close(time.Minute)
}
