// Package exporter serves a host's metrics over HTTP, for Prometheus to scrape: pgod itself
// has no HTTP listener.
package exporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The deadlines of a scrape and of those who ask for one. Prometheus gives up after 10 s.
const (
	fetchTimeout = 9 * time.Second
	readTimeout  = 5 * time.Second
	stopTimeout  = 5 * time.Second
)

// contentType is that of Prometheus' text format.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// Exporter answers scrapes with what Fetch brings. Its fields are set once, then
// immutable.
type Exporter struct {
	Host  string                                    // as it was typed, to be shown
	Fetch func(ctx context.Context) ([]byte, error) // asks the host; never called twice at a time
	Log   func(format string, args ...any)          // a line for people

	mu       sync.Mutex // held while asking: those who come meanwhile wait, and get the same answer
	answer   []byte
	answered time.Time
}

// Serve answers at the listener until ctx ends, which is no error.
func (e *Exporter) Serve(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", e.metrics)
	mux.HandleFunc("GET /{$}", e.index)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout,
		WriteTimeout: fetchTimeout + readTimeout, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		return errors.Join(err, server.Close())
	}
	return nil
}

func (e *Exporter) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(w, "This is pgoctl with the metrics of %s: scrape /metrics.\n", e.Host)
}

// metrics always answers a scrape: whether the host did is a metric, too.
func (e *Exporter) metrics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), fetchTimeout)
	defer cancel()
	begun := time.Now()
	answer, err := e.get(ctx, begun)
	w.Header().Set("Content-Type", contentType)
	if err != nil {
		e.Log("cannot scrape %s: %v", e.Host, err)
		answer = nil
	}
	_, _ = w.Write(append(answer, own(err == nil, time.Since(begun))...))
}

// own is what the exporter has to say itself.
func own(up bool, took time.Duration) string {
	value := 0
	if up {
		value = 1
	}
	var b strings.Builder
	write := func(name, help string, value any) {
		_, _ = fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n%s %v\n", name, help, name, name, value)
	}
	write("pgo_exporter_up", "Whether pgod answered this scrape.", value)
	write("pgo_exporter_scrape_duration_seconds", "How long it took pgod to answer this scrape.", took.Seconds())
	return b.String()
}

// get asks the host, unless somebody else has got an answer since begun.
func (e *Exporter) get(ctx context.Context, begun time.Time) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.answered.After(begun) {
		return e.answer, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	answer, err := e.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	// What comes after it must begin on a line of its own.
	if len(answer) > 0 && answer[len(answer)-1] != '\n' {
		answer = append(answer, '\n')
	}
	e.answer, e.answered = answer, time.Now()
	return answer[:len(answer):len(answer)], nil
}

// Listen listens at an address as people write it: :9099, localhost:9099.
func Listen(address string) (net.Listener, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("%q is no address to serve metrics at: write host:port, for example localhost:9099", address)
	}
	return net.Listen("tcp", address)
}

// maxAnswer bounds what is taken from a host.
const maxAnswer = 8 << 20

// ReadAll reads an answer that is not too long.
func ReadAll(r io.Reader) ([]byte, error) {
	answer, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = fmt.Errorf("the host sends more than %d MiB", maxAnswer>>20)
	}
	return answer, err
}
