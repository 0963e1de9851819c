package deploy

import (
	"bytes"
	"io"

	"pgo/worker/compose"
)

// toldOnce keeps the second of two runs of compose on one model from repeating what the
// first has written to standard error: its warnings, and what runs already.
type toldOnce struct{ said map[string]bool }

// first returns an output whose lines are remembered.
func (t *toldOnce) first(out compose.Output) compose.Output {
	t.said = map[string]bool{}
	remember := &lineWriter{each: func(line []byte) { t.said[string(line)] = true }}
	if out.Stderr == nil {
		out.Stderr = remember
	} else {
		out.Stderr = io.MultiWriter(out.Stderr, remember)
	}
	return out
}

// second returns an output that omits the remembered lines. Output that is drawn on a
// terminal has no lines.
func (t *toldOnce) second(out compose.Output) compose.Output {
	if to := out.Stderr; to != nil && !out.Color {
		out.Stderr = &lineWriter{each: func(line []byte) {
			if !t.said[string(line)] {
				_, _ = to.Write(line)
			}
		}}
	}
	return out
}

// lineWriter passes on whole lines, including their ends.
type lineWriter struct {
	each func(line []byte)
	rest []byte
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.rest = append(w.rest, b...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		w.each(w.rest[:i+1])
		w.rest = w.rest[i+1:]
	}
}
