package caddyfile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// caddy is a real Caddy, which gets one configuration after another.
type caddy struct {
	dir       string
	loads     int
	clients   map[string]*http.Transport // by socket, since the last load
	addresses map[int]string             // by port, since the last load, on TCP
}

// loopback is an address that hardly anything else uses, so that its ports are free.
var loopback = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))

// program returns the path of Caddy, which these tests cannot do without.
func program(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("caddy")
	if err != nil {
		t.Fatalf("these tests need Caddy (apt-get install caddy, or make machine): %v", err)
	}
	return path
}

// startCaddy starts a Caddy without a configuration.
func startCaddy(t testing.TB) *caddy {
	t.Helper()
	dir, err := os.MkdirTemp("", "caddy") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &caddy{dir: dir, clients: map[string]*http.Transport{}, addresses: map[int]string{}}
	path := filepath.Join(dir, "empty.json")
	if err := os.WriteFile(path, c.config(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	command := exec.Command(program(t), "run", "--config", path)
	command.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	command.Stdout, command.Stderr = &log, &log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a fuzzing process does not clean up
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-ended
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, _, err := c.ask("admin", "127.0.0.1", "/config/", nil); err == nil {
			return c
		}
		select {
		case <-ended:
			t.Fatalf("caddy ended: %s\n%s", command.ProcessState, log.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("caddy did not start")
		}
	}
}

// config returns a configuration of Caddy with these apps.
func (c *caddy) config(apps json.RawMessage) []byte {
	config := map[string]any{
		"admin":   map[string]any{"listen": "unix/" + c.socket("admin"), "origins": []string{"127.0.0.1"}, "config": map[string]any{"persist": false}},
		"logging": map[string]any{"logs": map[string]any{"default": map[string]any{"level": "ERROR"}}},
	}
	if apps != nil {
		config["apps"] = apps
	}
	return asJSON(config)
}

func (c *caddy) socket(name string) string { return filepath.Join(c.dir, name) }

// ask sends a request to one of the sockets: a POST if there is something to post. For a redirect,
// the body begins with its location.
func (c *caddy) ask(socket, host, uri string, post []byte) (status int, body string, err error) {
	method := http.MethodGet
	if post != nil {
		method = http.MethodPost
	}
	request, err := http.NewRequest(method, "http://127.0.0.1"+uri, bytes.NewReader(post))
	if err != nil {
		return 0, "", err
	}
	request.Host = host
	request.Header.Set("Content-Type", "application/json")
	if uri == "/adapt" {
		request.Header.Set("Content-Type", "text/caddyfile")
	}
	response, err := c.client(socket).RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, c.outside(response.Header.Get("Location")) + string(text), err
}

// outside returns a redirect's location with the port that it would have outside these tests.
func (c *caddy) outside(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return location
	}
	for port, address := range c.addresses {
		if address == loopback+":"+u.Port() {
			return strings.Replace(location, ":"+u.Port(), fmt.Sprintf(":%d", port), 1)
		}
	}
	return location
}

// client returns the transport for a socket: it does not follow redirects.
func (c *caddy) client(socket string) *http.Transport {
	client, known := c.clients[socket]
	if !known {
		client = &http.Transport{
			DisableKeepAlives:     socket == "admin", // each configuration starts a new server there
			ResponseHeaderTimeout: time.Minute,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				if socket == c.port(80) {
					return new(net.Dialer).DialContext(ctx, "tcp", c.addresses[80])
				}
				return new(net.Dialer).DialContext(ctx, "unix", c.socket(socket))
			},
		}
		c.clients[socket] = client
	}
	return client
}

// adapt has caddy adapt a Caddyfile that imports the snippet to its own configuration, and prepare
// everything that it would start from it.
func adapt(t testing.TB, snippet string) []byte {
	t.Helper()
	return adaptIn(t, t.TempDir(), map[string]string{"Caddyfile": "import Caddyfile-import\n", "Caddyfile-import": snippet})
}

// adaptIn does that with these files in a directory.
func adaptIn(t testing.TB, dir string, files map[string]string) []byte {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	run := func(subcommand string) []byte {
		command := exec.CommandContext(ctx, program(t), subcommand, "--adapter", "caddyfile", "--config", filepath.Join(dir, "Caddyfile"))
		command.Env = []string{"HOME=" + dir}
		var said bytes.Buffer
		command.Stderr = &said
		output, err := command.Output()
		if err != nil || subcommand == "adapt" && strings.Contains(said.String(), "warn") {
			t.Fatalf("caddy does not accept it: %v\n%s\n%v", err, said.String(), files)
		}
		return bytes.TrimSpace(output)
	}
	run("validate")
	return run("adapt")
}

// adaptQuickly does the same without starting a process.
func (c *caddy) adaptQuickly(t testing.TB, snippet string) []byte {
	t.Helper()
	status, body, err := c.ask("admin", "127.0.0.1", "/adapt", []byte(snippet))
	var reply struct {
		Warnings []any
		Result   json.RawMessage
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &reply)
	}
	if err != nil || status != http.StatusOK || len(reply.Warnings) > 0 {
		t.Fatalf("caddy does not accept it: %v\n%s\n%s", err, body, snippet)
	}
	return reply.Result
}

// server is the part of Caddy's configuration for one port.
type server struct {
	Listen    []string `json:"listen"`
	Protocols []string `json:"protocols,omitempty"`
	Routes    any      `json:"routes"`
	Automatic struct {
		Skip []string `json:"skip,omitempty"`
	} `json:"automatic_https"`
	TLS any `json:"tls_connection_policies,omitempty"`
}

// load has c serve what was adapted, and answer with where a request would go instead of sending
// it there. Each port except 80 is on a socket of its own, without TLS. Port 80 has what Caddy adds
// by itself, the redirects to HTTPS; so all servers are there a second time, unchanged except for
// their TCP ports, since those of the configuration may be taken or not permitted.
func (c *caddy) load(t testing.TB, adapted []byte) map[int]server {
	t.Helper()
	var config struct {
		Apps struct {
			HTTP struct{ Servers map[string]server }
		}
	}
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	c.loads++
	for _, client := range c.clients {
		client.CloseIdleConnections()
	}
	clear(c.clients)
	clear(c.addresses)
	c.reserve(t, 80)
	c.reserve(t, 443)
	servers, ports := map[string]any{}, map[int]server{}
	for name, s := range config.Apps.HTTP.Servers {
		var port int
		if _, err := fmt.Sscanf(strings.Join(s.Listen, " "), ":%d", &port); err != nil {
			t.Fatalf("caddy listens on %q", s.Listen)
		}
		ports[port] = s
		s.Routes = answering(s.Routes)
		if port != 80 {
			servers[name] = map[string]any{
				"listen":          []string{"unix/" + c.socket(c.port(port))},
				"protocols":       []string{"h1"},
				"automatic_https": map[string]any{"disable": true},
				"routes":          s.Routes,
			}
		}
		c.reserve(t, port)
		s.Listen, s.Protocols = []string{c.addresses[port]}, []string{"h1"}
		servers[name+" on TCP"] = s
	}
	_, plain, _ := net.SplitHostPort(c.addresses[80])
	_, secure, _ := net.SplitHostPort(c.addresses[443])
	apps := fmt.Sprintf(`{
		"http": {"http_port": %s, "https_port": %s, "servers": %s},
		"tls": {"automation": {"policies": [{"issuers": [{"module": "internal"}], "on_demand": true}]}},
		"pki": {"certificate_authorities": {"local": {"install_trust": false}}}
	}`, plain, secure, asJSON(servers))
	if status, body, err := c.ask("admin", "127.0.0.1", "/load", c.config(json.RawMessage(apps))); err != nil || status != http.StatusOK {
		t.Fatalf("caddy does not load it: %v\n%s\n%s", err, body, adapted)
	}
	return ports
}

// reserve finds an address for a port on which nothing listens.
func (c *caddy) reserve(t testing.TB, port int) {
	t.Helper()
	for c.addresses[port] == "" {
		listener, err := net.Listen("tcp", loopback+":0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		_ = listener.Close()
		if !slices.Contains(slices.Collect(maps.Values(c.addresses)), address) {
			c.addresses[port] = address
		}
	}
}

func asJSON(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

// port returns the name of a port's socket. It has the number of the load, since the servers of an
// earlier configuration may still be stopping.
func (c *caddy) port(n int) string { return fmt.Sprintf("%d-%d", c.loads, n) }

// answering replaces each proxy by a handler that answers with the targets of the request and with
// what would be sent to them.
func answering(raw any) any {
	switch raw := raw.(type) {
	case []any:
		for i := range raw {
			raw[i] = answering(raw[i])
		}
	case map[string]any:
		if raw["handler"] == "reverse_proxy" {
			var targets []string
			for _, upstream := range raw["upstreams"].([]any) {
				targets = append(targets, upstream.(map[string]any)["dial"].(string))
			}
			slices.Sort(targets)
			return map[string]any{"handler": "static_response", "body": strings.Join(targets, " ") + " {http.request.uri}"}
		}
		for key := range raw {
			raw[key] = answering(raw[key])
		}
	}
	return raw
}
