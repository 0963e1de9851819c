package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"

	"pgo/internal/printable"
)

// How long lines may be. A longer text is shown in pieces; a longer JSON is no use.
const (
	maxTextLine = 1 << 20
	maxJSONLine = 64 << 20
)

// lineWriter shows what is written line by line, so that those of several can share an
// output.
type lineWriter struct {
	output *sync.Mutex // held while a line is written to any of the outputs
	out    io.Writer
	show   func(line []byte) ([]byte, error) // with its line feed, both of them
	most   int

	line []byte // not complete yet
}

func (w *lineWriter) Write(b []byte) (int, error) {
	rest := b
	for len(rest) > 0 {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			end = len(rest)
		}
		end = min(end, w.most-len(w.line))
		w.line = append(w.line, rest[:end]...)
		rest = rest[end:]
		if w.line[len(w.line)-1] == '\n' || len(w.line) == w.most {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(b), nil
}

// flush shows a line that was not ended.
func (w *lineWriter) flush() error {
	if len(w.line) == 0 {
		return nil
	}
	line := w.line
	if line[len(line)-1] != '\n' {
		line = append(line, '\n')
	}
	w.line = w.line[:0]
	shown, err := w.show(line)
	if err != nil {
		return err
	}
	w.output.Lock()
	defer w.output.Unlock()
	_, err = w.out.Write(shown)
	return err
}

// labelledJSON shows a line of JSON as one that tells its host.
func labelledJSON(host string) func([]byte) ([]byte, error) {
	return func(line []byte) ([]byte, error) {
		value := bytes.TrimSpace(line)
		if len(value) == 0 {
			return nil, nil
		}
		if !json.Valid(value) {
			return nil, &notJSONError{string(value)}
		}
		name, err := json.Marshal(host)
		if err != nil {
			return nil, err
		}
		return slices.Concat([]byte(`{"host":`), name, []byte(`,"value":`), value, []byte("}\n")), nil
	}
}

// notJSONError is why the rest of a host's output is not shown.
type notJSONError struct{ line string }

func (e *notJSONError) Error() string {
	return "the host prints something else than JSON: " + printable.Line(printable.Cut(e.line, 100))
}

func isNotJSON(err error) bool { return errors.As(err, new(*notJSONError)) }
