package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"pgo/internal/printable"
)

// How much is kept of a host's output. A longer line is shown in pieces; a longer JSON value is
// not shown.
const (
	maxLine = 1 << 20
	maxJSON = 64 << 20
)

// lineWriter shows its input line by line, so that several can share an output.
type lineWriter struct {
	output *sync.Mutex // held while a line is written to any of the outputs
	out    io.Writer
	label  string // shown before each line
	most   int    // bytes of a line

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

// flush shows an unfinished line.
func (w *lineWriter) flush() error {
	if len(w.line) == 0 {
		return nil
	}
	line := w.line
	if line[len(line)-1] != '\n' {
		line = append(line, '\n')
	}
	w.line = w.line[:0]
	w.output.Lock()
	defer w.output.Unlock()
	_, err := w.out.Write(append([]byte(w.label), line...))
	return err
}

// valueWriter shows each JSON value that is written as a line that names its host.
type valueWriter struct {
	*io.PipeWriter
	done chan struct{} // closed when all is shown
	err  error         // why not everything is; valid once done is closed
}

func newValueWriter(host string, out io.Writer) *valueWriter {
	reader, writer := io.Pipe()
	w := &valueWriter{PipeWriter: writer, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.err = showValues(host, reader, out)
		_ = reader.CloseWithError(w.err) // Write returns it then
	}()
	return w
}

// flush waits until everything is shown. An incomplete value is not shown.
func (w *valueWriter) flush() error {
	_ = w.Close()
	<-w.done
	return w.err
}

func showValues(host string, in io.Reader, out io.Writer) error {
	bounded := &io.LimitedReader{R: in}
	values := json.NewDecoder(bounded)
	for {
		bounded.N = maxJSON
		var value json.RawMessage
		err := values.Decode(&value)
		switch {
		case bounded.N == 0:
			return &notJSONError{errors.New("a value that is too long")}
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return &notJSONError{err}
		}
		line, err := json.Marshal(struct {
			Host  string          `json:"host"`
			Value json.RawMessage `json:"value"`
		}{host, value})
		if err != nil {
			return &notJSONError{err}
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
}

// notJSONError is why the rest of a host's output is not shown.
type notJSONError struct{ error }

func (e *notJSONError) Error() string {
	return "the host prints something other than JSON: " + printable.Line(printable.Cut(e.error.Error(), 200))
}

func isNotJSON(err error) bool { return errors.As(err, new(*notJSONError)) }
