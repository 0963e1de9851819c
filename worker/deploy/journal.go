package deploy

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pgo/worker/compose"
)

// maxJournal is how much of a deploy's output is kept for whoever watches.
const maxJournal = 256 << 10

// journal is the output of the current or the last deploy.
type journal struct {
	mu    sync.Mutex
	text  []byte
	cut   int64         // how many bytes were dropped before text
	turn  int           // counts the deploys
	title string        // of a deploy that has not written anything yet
	news  chan struct{} // closed when something is added; nil: nobody waits
}

// begin sets the title of the next deploy. The last one is forgotten only when the next
// writes something: most commits change nothing that runs.
func (j *journal) begin(title string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.title = title + "\n"
}

// Write implements io.Writer; it never fails.
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.title != "" {
		j.text, j.cut = []byte(j.title), 0
		j.turn++
		j.title = ""
	}
	j.add(b)
	return len(b), nil
}

func (j *journal) add(b []byte) {
	j.text = append(j.text, b...)
	if over := len(j.text) - maxJournal; over > maxJournal/4 {
		j.text = append([]byte(nil), j.text[over:]...)
		j.cut += int64(over)
	}
	if j.news != nil {
		close(j.news)
		j.news = nil
	}
}

// after returns what was written since a place, the place after it, and a channel that is
// closed when there is more. A place before the current deploy means its beginning.
func (j *journal) after(turn int, place int64) (text []byte, now int, next int64, more <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if turn != j.turn || place < j.cut {
		place = j.cut
	}
	text = append([]byte(nil), j.text[place-j.cut:]...)
	if j.news == nil {
		j.news = make(chan struct{})
	}
	return text, j.turn, place + int64(len(text)), j.news
}

// follow writes the output so far and then what is added, until ctx ends or out fails.
func (j *journal) follow(ctx context.Context, out io.Writer) error {
	turn, place := -1, int64(0)
	for {
		text, now, next, more := j.after(turn, place)
		turn, place = now, next
		if len(text) > 0 {
			if _, err := out.Write(text); err != nil {
				return err
			}
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		}
	}
}

// outputFile has the last deploy's output, for watch after a restart.
const outputFile = "output.log"

func (j *journal) save(dir string) error {
	j.mu.Lock()
	text := append([]byte(nil), j.text...)
	j.mu.Unlock()
	return replaceFile(dir, outputFile, text)
}

func (j *journal) load(dir string) {
	if text, err := os.ReadFile(filepath.Join(dir, outputFile)); err == nil {
		_, _ = j.Write(text)
	}
}

// recorded returns an output that the journal gets as well.
func (j *journal) recorded(out compose.Output) compose.Output {
	both := func(w io.Writer) io.Writer {
		if w == nil {
			return j
		}
		return io.MultiWriter(j, w)
	}
	return compose.Output{Stdout: both(out.Stdout), Stderr: both(out.Stderr)}
}

// say writes a line of pgo's own between those of compose.
func say(out compose.Output, format string, args ...any) {
	if out.Stderr != nil {
		_, _ = fmt.Fprintf(out.Stderr, format+"\n", args...)
	}
}

// sayWarnings says what compose warned of.
func sayWarnings(out compose.Output, r *Record) {
	for _, warning := range r.Warnings {
		say(out, "warning: %s", warning)
	}
}

// heading returns the title of a deploy in the journal.
func heading(what string) string {
	return fmt.Sprintf("== %s, %s", what, time.Now().UTC().Format(time.RFC3339))
}
