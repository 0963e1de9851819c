package rig

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// pause is the time between the end of a request of a load and the next.
const pause = 100 * time.Millisecond

// Load is a constant load of requests through a front: of each kind one at a time.
type Load struct {
	cancel context.CancelFunc
	all    sync.WaitGroup
	held   sync.RWMutex // read during each request
	holds  int

	mu       sync.Mutex
	requests int
	failures []string
}

// request is how one of a load is made.
type request struct {
	url, method string
	keep        bool   // on a connection that is kept
	takes       string // as long as it takes the server; empty: no time
}

// StartLoad begins to send requests to a host: GET and POST, with answers at once and after 2 s, on
// kept and on new connections, over HTTP and HTTPS. want begins each answer.
func (f Front) StartLoad(host, want string) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{cancel: cancel}
	for _, scheme := range []string{"http", "https"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			for _, keep := range []bool{true, false} {
				for _, takes := range []string{"", "2s"} {
					k := request{scheme + "://" + host + "/?for=" + takes, method, keep, takes}
					l.all.Go(func() { l.run(ctx, f, k, want) })
				}
			}
		}
	}
	return l
}

func (l *Load) run(ctx context.Context, f Front, k request, want string) {
	trusted := f.Trusted
	if trusted == nil {
		trusted = x509.NewCertPool()
	}
	transport := &http.Transport{
		DisableKeepAlives: !k.keep, TLSClientConfig: &tls.Config{RootCAs: trusted}, DialContext: f.dial,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	holds := 0
	for n := 0; ctx.Err() == nil; n++ {
		body := fmt.Sprintf("body %d", n)
		l.held.RLock()
		if holds != l.holds { // the front may have closed what was kept
			transport.CloseIdleConnections()
			holds = l.holds
		}
		began := time.Now()
		said := ask(client, k, body)
		l.held.RUnlock()
		if k.method == http.MethodGet {
			body = ""
		}
		l.mu.Lock()
		l.requests++
		if !strings.HasPrefix(said, "200 "+want) || !strings.HasSuffix(said, body) {
			l.failures = append(l.failures, fmt.Sprintf("%s %s %s (kept: %v, after %s): %s", began.Format("05.000"), k.method, k.url, k.keep,
				time.Since(began).Round(time.Millisecond), said))
		}
		l.mu.Unlock()
		time.Sleep(pause)
	}
}

func ask(client *http.Client, k request, body string) string {
	var sent io.Reader
	if k.method == http.MethodPost {
		sent = strings.NewReader(body)
	}
	// The load ends between requests, so this one runs to its end.
	request, err := http.NewRequest(k.method, k.url, sent)
	if err != nil {
		return err.Error()
	}
	answer, err := client.Do(request)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", answer.StatusCode, text)
}

// Hold does something while there is no request: what has begun is answered before, and the next ones
// wait, and get new connections. It is for what the front itself does not do without a loss.
func (l *Load) Hold(do func()) {
	l.held.Lock()
	defer l.held.Unlock()
	do()
	l.holds++
}

// Failures returns how many requests there were so far, and those that failed.
func (l *Load) Failures() (requests int, failures []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests, append([]string(nil), l.failures...)
}

// End ends the load when the requests that have begun are answered.
func (l *Load) End() (requests int, failures []string) {
	l.cancel()
	l.all.Wait()
	return l.Failures()
}

// Stop ends the load, and reports each request that failed.
func (l *Load) Stop(t testing.TB) {
	t.Helper()
	requests, failures := l.End()
	t.Logf("%d requests, %d of them failed", requests, len(failures))
	const most = 20
	for _, failure := range failures[:min(len(failures), most)] {
		t.Errorf("a request failed: %s", failure)
	}
}

// Stream opens a connection that lasts, at a path of a host that answers with line after line, and
// returns a function that reads the next. An upgraded connection is one of a WebSocket.
func (f Front) Stream(t testing.TB, url string, upgrade bool) (next func() (string, error)) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if upgrade {
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", "websocket")
	}
	client := &http.Client{Transport: &http.Transport{DialContext: f.dial, DisableKeepAlives: !upgrade}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return func() (string, error) {
		buffer := make([]byte, 256)
		n, err := answer.Body.Read(buffer)
		return string(buffer[:n]), err
	}
}
