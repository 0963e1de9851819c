package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/singleflight"

	"pgo/internal/bounded"
	"pgo/internal/printable"
	"pgo/internal/target"
)

// Bounds of a scrape: less than the ten seconds that Prometheus waits.
const (
	scrapeTime = 8 * time.Second
	maxMetrics = 16 << 20
)

// exporter serves a host's metrics over HTTP. Root's pgod has no HTTP listener: this one runs
// anywhere and as any user, with an operator's key.
type exporter struct {
	*job
	scrapes singleflight.Group // concurrent ones share an answer

	mu      sync.Mutex // guards what follows
	conn    *ssh.Client
	trouble string // why the last scrape failed
}

// checkExporter returns what is wrong with --serve-metrics.
func checkExporter(address string, t target.Target) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return target.Usagef("--serve-metrics %s is not an address: write host:port or :port, for example 127.0.0.1:9180", printable.Line(address))
	}
	if t.Scope() != target.Host || t.Operation != "metrics" {
		return target.Usagef("--serve-metrics is for host://metrics")
	}
	return nil
}

// serveMetrics serves until the run ends, which is not an error.
func (c *client) serveMetrics(ctx context.Context, address string, p place, command target.Command) error {
	e := &exporter{job: c.job(p, command)}
	defer e.hangUp()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("cannot serve metrics: %w", err)
	}
	defer listener.Close()
	if err := e.start(ctx); err != nil {
		return err
	}
	server := &http.Server{
		Handler:           e.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(c.stderr, "pgoctl: ", 0),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.Background(), scrapeTime)
		defer cancel()
		_ = server.Shutdown(ending) // cuts off at most what takes too long anyway
	}()
	if !c.quiet {
		c.sayf("pgoctl: serving the metrics of %s on http://%s/metrics", p.name, listener.Addr())
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve metrics: %w", err)
	}
	<-ended
	return nil
}

// start fails on mistakes that only the user can correct, such as a wrong key. A host that does not
// answer is not one of them: it may come back.
func (e *exporter) start(ctx context.Context) error {
	if _, err := e.keysFor(e.place); err != nil {
		return err
	}
	first, cancel := context.WithTimeout(ctx, e.flags.timeout)
	defer cancel()
	_, err := e.fetch(first)
	e.progress.stop()
	e.several = true // from now on nobody waits at a terminal
	if told := new(localError); errors.As(err, &told) {
		return told
	}
	return nil
}

func (e *exporter) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "The metrics of the pgod on %s are at /metrics.\n", e.name)
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		metrics, err := e.scrape(r.Context())
		if err != nil {
			http.Error(w, "The metrics of "+e.name+" are not available; the log of pgoctl says why.", http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(metrics)))
		_, _ = w.Write(metrics) // fails when the client has left
	})
	return mux
}

// scrape asks the host once for all concurrent requests.
func (e *exporter) scrape(ctx context.Context) ([]byte, error) {
	answer := e.scrapes.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), scrapeTime)
		defer cancel()
		return e.fetch(ctx)
	})
	select {
	case a := <-answer:
		metrics, _ := a.Val.([]byte)
		return metrics, a.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fetch gets the metrics over the existing connection, or over a new one, and logs when it begins
// to fail and when it works again.
func (e *exporter) fetch(ctx context.Context) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	metrics, err := e.ask(ctx)
	trouble := ""
	if err != nil {
		trouble = printable.Line(scrapeFailure(ctx, err))
	}
	switch {
	case trouble == e.trouble:
	case trouble != "":
		e.complainf("pgoctl: cannot get the metrics of %s: %s", e.name, trouble)
	default:
		e.sayf("pgoctl: the metrics of %s are available again", e.name)
	}
	e.trouble = trouble
	return metrics, err
}

// scrapeFailure puts an error into words, together with what the host has said about it.
func scrapeFailure(ctx context.Context, err error) string {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return fmt.Sprintf("it takes longer than %v", scrapeTime)
	}
	if status := new(statusError); errors.As(err, &status) {
		return fmt.Sprintf("%s: %s", status, status.message)
	}
	return err.Error()
}

func (e *exporter) ask(ctx context.Context) ([]byte, error) {
	if e.conn != nil {
		metrics, err := e.run(ctx, e.conn)
		if err == nil || errors.As(err, new(*statusError)) || ctx.Err() != nil {
			return metrics, err
		}
		e.conn.Close() // it was lost meanwhile
		e.conn = nil
	}
	var metrics []byte
	err := e.withKeys(ctx, func(conn *ssh.Client, _ bool) (err error) {
		if metrics, err = e.run(ctx, conn); err != nil {
			return errors.Join(err, conn.Close())
		}
		e.conn = conn
		return nil
	})
	return metrics, err
}

// run gets the metrics over a connection, which it closes when that takes too long.
func (e *exporter) run(ctx context.Context, conn *ssh.Client) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	session, err := conn.NewSession()
	if err != nil {
		return nil, explain(err, nil)
	}
	defer session.Close()
	stdout, stderr := &bounded.Buffer{Most: maxMetrics}, &bounded.Buffer{Most: 4 << 10}
	session.Stdout, session.Stderr = stdout, stderr
	if err := session.Run(e.command.Line()); err != nil {
		return nil, explain(err, stderr.Bytes())
	}
	if stdout.Cut {
		return nil, fmt.Errorf("the host says more than %d MiB", maxMetrics>>20)
	}
	return stdout.Bytes(), nil
}

func (e *exporter) hangUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn != nil {
		e.conn.Close()
	}
}
