package bench

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"pgo/internal/gittest"
	"pgo/test/rig"
)

// gitServer serves a service's repository over smart HTTP and reports the requests.
type gitServer struct {
	b        *testing.B
	requests chan request
}

// request is a request that has arrived.
type request struct {
	at   time.Time
	look bool // it lists refs, and asks for nothing else
}

// serve puts a server of its own in front of the service's repository.
func serve(b *testing.B, s *rig.Service) *gitServer {
	b.Helper()
	git := gittest.Handler(filepath.Dir(s.Repo.Dir), "", b.Output())
	// More than any benchmark leaves unread: a request must not wait for the benchmark.
	g := &gitServer{b: b, requests: make(chan request, 1<<16)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := time.Now()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		g.requests <- request{at: at, look: bytes.Contains(body, []byte("command=ls-refs"))}
		r.Body = io.NopCloser(bytes.NewReader(body))
		git.ServeHTTP(w, r)
	}))
	b.Cleanup(server.Close)
	s.Set("repository", server.URL+"/"+filepath.Base(s.Repo.Dir))
	return g
}

// looks waits for the next n looks.
func (g *gitServer) looks(n int) {
	g.b.Helper()
	for range n {
		g.next(true)
	}
}

// next waits for the next request that is a look, or for the next that is not, with which a
// fetch begins.
func (g *gitServer) next(look bool) request {
	g.b.Helper()
	timeout := time.After(time.Minute)
	for {
		select {
		case r := <-g.requests:
			if r.look == look {
				return r
			}
		case <-timeout:
			g.b.Fatalf("no such request to the git server within a minute (look: %v)", look)
		}
	}
}

// forget drops the requests so far.
func (g *gitServer) forget() {
	for len(g.requests) > 0 {
		<-g.requests
	}
}
