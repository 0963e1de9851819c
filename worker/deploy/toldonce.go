package deploy

import (
	"bytes"
	"io"

	"pgo/worker/compose"
)

// toldOnce has the second of two runs of compose on one model not repeat what the
// first has said on standard error: its warnings, and what runs already.
type toldOnce struct{ said map[string]bool }

// first is an output of which the lines are remembered.
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

// second is an output that leaves out the lines which were remembered. What is drawn
// on a terminal has no lines.
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

// lineWriter hands on whole lines, their ends included.
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
