package main

import (
	"bufio"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// logLines returns a function that checks the next line on a program's stderr.
func logLines(t *testing.T, c *exec.Cmd) func(want string) string {
	t.Helper()
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(stderr); in.Scan(); {
			lines <- in.Text()
		}
	}()
	return func(want string) string {
		t.Helper()
		line := <-lines
		if !strings.Contains(line, want) {
			t.Fatalf("it prints %q, not %q", line, want)
		}
		return line
	}
}

// operator makes the key at home an operator's.
func (w *world) operator() { w.write("ssh/operators/id.pub", w.read("ssh/pgo/id.pub")) }

// startExporter returns the URL that it serves on, and what it prints next.
func (w *world) startExporter() (c *exec.Cmd, url string, says func(string) string) {
	w.t.Helper()
	c = w.command("--serve-metrics", "127.0.0.1:0", "127.0.0.1://metrics")
	says = logLines(w.t, c)
	w.must(c.Start())
	w.t.Cleanup(func() { _ = c.Process.Kill() })
	_, url, _ = strings.Cut(says("pgoctl: serving the metrics of 127.0.0.1 on http://"), " on ")
	return c, url, says
}

func get(url string) (string, *http.Response, error) {
	response, err := http.Get(url)
	if err != nil {
		return "", nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), response, err
}

func (w *world) gets(url string, status int, want string) *http.Response {
	w.t.Helper()
	body, response, err := get(url)
	w.must(err)
	if response.StatusCode != status || body != want {
		w.t.Errorf("%s: %s, %q", url, response.Status, body)
	}
	return response
}

func TestExporter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operator()
	c, url, says := w.startExporter()
	// The first request tested the connection. All requests share one connection.
	response := w.gets(url, 200, "pgo_up 1\nasked 2\n")
	if kind := response.Header.Get("Content-Type"); kind != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("the content type is %q", kind)
	}
	w.gets(url, 200, "pgo_up 1\nasked 3\n")
	if n := w.host.logins.Load(); n != 1 {
		t.Errorf("it has logged in %d times", n)
	}
	w.gets(strings.TrimSuffix(url, "metrics"), 200, "The metrics of the pgod on 127.0.0.1 are at /metrics.\n")
	w.gets(url+"x", 404, "404 page not found\n")
	if response, err := http.Post(url, "", nil); err != nil || response.StatusCode != 405 {
		t.Errorf("to POST: %v, %v", response, err)
	}

	// An absent host is reported once, and so is its return.
	w.host.stop()
	w.gets(url, 502, "The metrics of 127.0.0.1 are not available; the log of pgoctl says why.\n")
	says("pgoctl: cannot get the metrics of 127.0.0.1: ")
	w.restart()
	w.gets(url, 200, "pgo_up 1\nasked 4\n")
	says("pgoctl: the metrics of 127.0.0.1 are available again")

	// A refusal is the host's answer, and costs no connection.
	w.write("ssh/operators/id.pub", "")
	w.gets(url, 502, "The metrics of 127.0.0.1 are not available; the log of pgoctl says why.\n")
	says(`Process exited with status 401: Unauthorized: Key for user "miek" is not an operator's`)

	w.must(c.Process.Signal(syscall.SIGTERM))
	if err := c.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// A client that is being answered when pgoctl must end gets the answer, and others may share it.
func TestExporterEndsWithAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operator()
	w.host.stop()
	w.host.slow = make(chan struct{}, 1)
	w.restart()
	w.host.slow <- struct{}{} // for the test of the connection
	c, url, _ := w.startExporter()
	answers := make(chan string)
	ask := func() {
		body, response, err := get(url)
		if err == nil && response.StatusCode != 200 {
			t.Errorf("a request gets %s, %q", response.Status, body)
		}
		answers <- body // empty if it came too late
	}
	go ask()
	for w.host.metrics.Load() < 2 { // until it is asked
		if _, err := http.Head(strings.TrimSuffix(url, "metrics")); err != nil {
			t.Fatal(err)
		}
	}
	const others = 20
	for range others {
		go ask()
	}
	w.must(c.Process.Signal(syscall.SIGTERM))
	close(w.host.slow)
	var all []string
	for range 1 + others {
		all = append(all, <-answers)
	}
	if !slices.Contains(all, "pgo_up 1\nasked 2\n") {
		t.Error("the first one gets no answer")
	}
	if err := c.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}
