package caddyfile

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"pgo/internal/config"
)

// The name of a target's switch says which host answers, from one request to the next. Without one it is the target, and so it is while that host cannot be reached.
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
	switches := filepath.Join(t.TempDir(), ".urls.switch.")
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
	answers("without a file", "the target")
	switched := switches + "web." + loopback + "="
	for _, other := range []string{"web." + loopback + ".other=", "app." + loopback + "=", "web.other="} {
		if err := os.WriteFile(switches+other+"127.0.0.2", nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	answers("with others switched", "the target")
	if err := os.WriteFile(switched+"127.0.0.2", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	answers("switched", "the other")
	if err := os.Rename(switched+"127.0.0.2", switched+"127.0.0.3"); err != nil {
		t.Fatal(err)
	}
	answers("switched to one that is gone", "the target")
	if err := os.Remove(switched + "127.0.0.3"); err != nil {
		t.Fatal(err)
	}
	answers("released", "the target")
}

// A Caddy that is started or reloaded while requests are switched can import everything that is next to
// the snippet, too.
func TestImportOfSwitches(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sites"), 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"Caddyfile": "import sites/*\n", "sites/urls": Render([]config.Service{{
		Name: "web", Deploy: config.StartFirst, URLs: []config.Route{{Scheme: "http", Host: "a.example.org", Port: 80, Targets: []config.Target{{Host: "web", Port: 80}}}},
	}}, "/etc/caddy/sites/.urls.switch.")}
	without := adaptIn(t, dir, files)
	files["sites/.urls.switch.web.web=0123456789ab"] = "# Written by pgo.\n"
	if with := adaptIn(t, dir, files); !bytes.Equal(with, without) {
		t.Errorf("with a switch it is\n%s\nand without\n%s", with, without)
	}
}
