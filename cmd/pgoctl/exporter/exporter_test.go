package exporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// serve runs an exporter for as long as the test lasts.
func serve(t *testing.T, fetch func(context.Context) ([]byte, error)) (url string, log func() string) {
	t.Helper()
	var mu sync.Mutex
	var lines []string
	listener, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &Exporter{Host: "web1", Fetch: fetch, Log: func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, fmt.Sprintf(format, args...))
	}}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	return "http://" + listener.Addr().String(), func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(lines, "\n")
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// value is that of a metric without labels.
func value(t *testing.T, text, name string) float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	family := families[name]
	if family == nil {
		t.Fatalf("there is no %s:\n%s", name, text)
	}
	return family.GetMetric()[0].GetGauge().GetValue()
}

func TestScrape(t *testing.T) {
	away := atomic.Bool{}
	url, log := serve(t, func(context.Context) ([]byte, error) {
		if away.Load() {
			return nil, errors.New("nothing listens there")
		}
		return []byte("# TYPE pgo_x gauge\npgo_x 7"), nil // without a line's end
	})
	status, text := get(t, url+"/metrics")
	if status != http.StatusOK || value(t, text, "pgo_x") != 7 || value(t, text, "pgo_exporter_up") != 1 {
		t.Errorf("%d %s", status, text)
	}
	away.Store(true)
	status, text = get(t, url+"/metrics")
	if status != http.StatusOK || value(t, text, "pgo_exporter_up") != 0 || strings.Contains(text, "pgo_x") {
		t.Errorf("the host is away: %d %s", status, text)
	}
	if !strings.Contains(log(), "cannot scrape web1: nothing listens there") {
		t.Errorf("it logged %q", log())
	}
	if status, text := get(t, url+"/"); status != http.StatusOK || !strings.Contains(text, "/metrics") {
		t.Errorf("%d %s", status, text)
	}
	if status, _ := get(t, url+"/other"); status != http.StatusNotFound {
		t.Errorf("another path: %d", status)
	}
}

// Those who come while the host is asked share the answer.
func TestScrapesShareAnAnswer(t *testing.T) {
	asked, goOn := make(chan struct{}), make(chan struct{})
	count := 0 // touched by one fetch at a time
	e := &Exporter{Fetch: func(context.Context) ([]byte, error) {
		count++
		close(asked)
		<-goOn
		return []byte("pgo_x 1\n"), nil
	}}
	begun := time.Now()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if answer, err := e.get(context.Background(), begun); err != nil || string(answer) != "pgo_x 1\n" {
				t.Errorf("%q, %v", answer, err)
			}
		})
	}
	<-asked
	close(goOn)
	all.Wait()
	if count != 1 {
		t.Errorf("the host was asked %d times", count)
	}
}

func TestListen(t *testing.T) {
	for _, address := range []string{"", "9099", "localhost", "::1:9"} {
		if _, err := Listen(address); err == nil || !strings.Contains(err.Error(), "for example localhost:9099") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestReadAll(t *testing.T) {
	if _, err := ReadAll(zeros{}); err == nil || !strings.Contains(err.Error(), "more than 8 MiB") {
		t.Errorf("an endless answer: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
