package caddyfile

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"pgo/internal/config"
)

// The file in the directory of a target's switch is the host that answers, from one request to the
// next. Without one it is the target, and so it is while that host cannot be reached.
func TestSwitch(t *testing.T) {
	c := startCaddy(t)
	target, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	port := target.Addr().(*net.TCPAddr).Port
	other, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	for name, listener := range map[string]net.Listener{"the target": target, "the other": other} {
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })}
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { _ = server.Close() })
	}
	switches := t.TempDir()
	c.proxy(t, adapt(t, Render([]config.Service{{Name: "web", Deploy: config.StartFirst, URLs: []config.Route{
		{Scheme: "http", Host: "a.example.org", Port: 80, Targets: []config.Target{{Host: loopback, Port: port}}},
		{Scheme: "http", Host: "b.example.org", Port: 80, Path: "/below", Targets: []config.Target{{Host: loopback, Port: port}}},
	}}}, switches)))
	answers := func(when, want string) {
		t.Helper()
		for host, path := range map[string]string{"a.example.org": "/", "b.example.org": "/below/it"} {
			for _, post := range [][]byte{nil, []byte("body")} {
				if status, body, err := c.ask("proxy", host, path, post); err != nil || status != http.StatusOK || body != want {
					t.Errorf("%s, %s%s is answered with %d %q, %v", when, host, path, status, body, err)
				}
			}
		}
	}
	answers("without a directory", "the target")
	dir := filepath.Join(switches, "web", loopback)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	answers("without a file", "the target")
	if err := os.WriteFile(filepath.Join(dir, "127.0.0.2"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	answers("switched", "the other")
	if err := os.Rename(filepath.Join(dir, "127.0.0.2"), filepath.Join(dir, "127.0.0.3")); err != nil {
		t.Fatal(err)
	}
	answers("switched to one that is gone", "the target")
	if err := os.Remove(filepath.Join(dir, "127.0.0.3")); err != nil {
		t.Fatal(err)
	}
	answers("released", "the target")
}
