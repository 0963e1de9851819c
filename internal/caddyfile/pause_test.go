package caddyfile

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"pgo/internal/config"
)

// A request that arrives while no target can be reached gets its answer from the one that comes
// back: a deploy is a pause, whether a URL has one target or several.
func TestDeployIsPause(t *testing.T) {
	for name, others := range map[string][]config.Target{"one": nil, "several": {{Host: loopback, Port: 1}}} {
		t.Run(name, func(t *testing.T) {
			// Each has a Caddy of its own: one that loads another configuration may still get a
			// request with the old one, and ends what waits there.
			c := startCaddy(t)
			gone, err := net.Listen("tcp", loopback+":0")
			if err != nil {
				t.Fatal(err)
			}
			address := gone.Addr().(*net.TCPAddr)
			_ = gone.Close()
			targets := append([]config.Target{{Host: loopback, Port: address.Port}}, others...)
			c.proxy(t, adapt(t, Render([]config.Service{{Name: "web", URLs: []config.Route{{
				Scheme: "http", Host: "a.example.org", Port: 80, Targets: targets,
			}}}}, "")))
			type answer struct {
				status int
				body   string
				err    error
			}
			answers := make(chan answer, 1)
			go func() {
				status, body, err := c.ask("proxy", "a.example.org", "/path", nil)
				answers <- answer{status, body, err}
			}()
			select {
			case a := <-answers:
				t.Fatalf("it did not wait: %+v", a)
			case <-time.After(500 * time.Millisecond): // Caddy has tried, and found nobody
			}
			back, err := net.Listen("tcp", address.String())
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "asked for "+r.URL.Path)
			})}
			go func() { _ = server.Serve(back) }()
			t.Cleanup(func() { _ = server.Close() })
			if a := <-answers; a.err != nil || a.status != http.StatusOK || a.body != "asked for /path" {
				t.Errorf("got %+v", a)
			}
		})
	}
}

// proxy has c serve what was adapted on one socket, without TLS, and send requests to their
// targets.
func (c *caddy) proxy(t testing.TB, adapted []byte) {
	t.Helper()
	var config struct {
		Apps struct {
			HTTP struct{ Servers map[string]server }
		}
	}
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	servers := map[string]any{}
	for name, s := range config.Apps.HTTP.Servers {
		servers[name] = map[string]any{
			"listen":          []string{"unix/" + c.socket("proxy")},
			"protocols":       []string{"h1"},
			"automatic_https": map[string]any{"disable": true},
			"routes":          s.Routes,
		}
	}
	apps := asJSON(map[string]any{"http": map[string]any{"servers": servers}})
	if status, body, err := c.ask("admin", "127.0.0.1", "/load", c.config(apps)); err != nil || status != http.StatusOK {
		t.Fatalf("caddy does not load it: %v\n%s\n%s", err, body, adapted)
	}
	if client := c.clients["proxy"]; client != nil {
		client.CloseIdleConnections()
	}
}
