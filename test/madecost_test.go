package test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"pgo/test/rig"
	"pgo/worker/compose"
	"pgo/worker/deploy"
)

// counted is the host's engine behind a socket that records the requests.
type counted struct {
	host string

	mu    sync.Mutex
	asked []string
}

func newCounted(t *testing.T, dir string) *counted {
	t.Helper()
	socket := filepath.Join(dir, "counted.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	c := &counted{host: "unix://" + socket}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", "/run/docker.sock")
	}}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.asked = append(c.asked, r.Method+" "+r.URL.Path)
		c.mu.Unlock()
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return c
}

// take returns the requests since it was last called.
func (c *counted) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.asked
	c.asked = nil
	return asked
}

// The second check sends the engine one request for each container, and three more. To remember
// what was made takes as many again, and one.
func TestSecondCheckAsksLittle(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	engine := newCounted(t, r.Dir)
	const containers = 4
	four := func(seconds string) rig.Files {
		app := "image: " + r.Busybox() + ", command: [sleep, " + strconv.Quote(seconds) + "], init: true"
		return rig.Files{"compose.yaml": "services:\n  one: {" + app + ", scale: 3, volumes: [\"kept:/kept\"]}\n" +
			"  two: {" + app + ", networks: [default, inner]}\nnetworks: {inner: {}}\nvolumes: {kept: {}}\n"}
	}
	var log bytes.Buffer
	var asked []string
	commit := web.Push("four containers", four("86400"))
	service := openService(t, r, web, &log, deploy.Config{
		Project: compose.Project{Host: engine.host},
		OnStep: func(step deploy.Step) {
			if now := engine.take(); step == deploy.StepUp {
				asked = now
			}
		},
	})
	for _, seconds := range []string{"8640", ""} { // the first time it asks for the engine's defaults, too
		if err := change(service, func(turn *deploy.Turn) error { return turn.Poll(t.Context()) }); err != nil || service.Status().Deployed.String() != commit {
			t.Fatalf("%v\n%s", err, &log)
		}
		if seconds != "" {
			commit = web.Push("four others", four(seconds))
		}
	}
	if len(asked) == 0 || len(asked) > 2*containers+4 {
		t.Errorf("for %d containers it sent %d requests: %v", containers, len(asked), asked)
	}
}
