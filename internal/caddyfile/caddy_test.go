package caddyfile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// caddy is a real Caddy, to be given one configuration after the other.
type caddy struct {
	dir     string
	loads   int
	clients map[string]*http.Client // by socket, of this load
}

// program is Caddy's: without it nothing here could be believed.
func program(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("caddy")
	if err != nil {
		t.Fatalf("these tests need Caddy (apt-get install caddy, or make machine): %v", err)
	}
	return path
}

// startCaddy starts one that has no configuration yet.
func startCaddy(t testing.TB) *caddy {
	t.Helper()
	dir, err := os.MkdirTemp("", "caddy") // the name of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &caddy{dir: dir, clients: map[string]*http.Client{}}
	path := filepath.Join(dir, "empty.json")
	if err := os.WriteFile(path, c.config(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	command := exec.Command(program(t), "run", "--config", path)
	command.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	command.Stdout, command.Stderr = &log, &log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a fuzzer's process cleans up nothing
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
			t.Fatal("caddy does not start")
		}
	}
}

// config is Caddy's, with these apps.
func (c *caddy) config(apps json.RawMessage) []byte {
	config := map[string]any{
		"admin":   map[string]any{"listen": "unix/" + c.socket("admin"), "origins": []string{"127.0.0.1"}, "config": map[string]any{"persist": false}},
		"logging": map[string]any{"logs": map[string]any{"default": map[string]any{"level": "ERROR"}}},
	}
	if apps != nil {
		config["apps"] = apps
	}
	text, err := json.Marshal(config)
	if err != nil {
		panic(err)
	}
	return text
}

func (c *caddy) socket(name string) string { return filepath.Join(c.dir, name) }

// ask sends a request to one of the sockets: a POST where there is something to post. The
// body of a redirect is where it leads to.
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
	response, err := c.client(socket).Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header.Get("Location") + string(text), err
}

func (c *caddy) client(socket string) *http.Client {
	client, known := c.clients[socket]
	if !known {
		client = &http.Client{
			Timeout:       time.Minute,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				DisableKeepAlives: socket == "admin", // a new configuration is a new server there
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", c.socket(socket))
				},
			},
		}
		c.clients[socket] = client
	}
	return client
}

// adapt has caddy make its own configuration of a Caddyfile that imports the snippet, and
// prepare everything that it would start with that.
func adapt(t testing.TB, snippet string) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"Caddyfile": "import Caddyfile-import\n", "Caddyfile-import": snippet} {
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
			t.Fatalf("caddy does not take it: %v\n%s\n%s", err, said.String(), snippet)
		}
		return bytes.TrimSpace(output)
	}
	run("validate")
	return run("adapt")
}

// adaptQuickly does the same without a process of its own.
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
		t.Fatalf("caddy does not take it: %v\n%s\n%s", err, body, snippet)
	}
	return reply.Result
}

// server is what Caddy has for one port.
type server struct {
	Listen    []string
	Routes    any
	Automatic struct{ Skip []string } `json:"automatic_https"`
}

// load has c serve what was adapted, each port on a socket of its own and without TLS, and
// answer where a request would go to instead of sending it there.
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
	servers, ports := map[string]any{}, map[int]server{}
	for name, s := range config.Apps.HTTP.Servers {
		var port int
		if _, err := fmt.Sscanf(strings.Join(s.Listen, " "), ":%d", &port); err != nil {
			t.Fatalf("caddy listens on %q", s.Listen)
		}
		ports[port] = s
		servers[name] = map[string]any{
			"listen":          []string{"unix/" + c.socket(c.port(port))},
			"protocols":       []string{"h1"},
			"automatic_https": map[string]any{"disable": true},
			"routes":          answering(s.Routes),
		}
	}
	apps, err := json.Marshal(map[string]any{"http": map[string]any{"servers": servers}})
	if err != nil {
		t.Fatal(err)
	}
	if status, body, err := c.ask("admin", "127.0.0.1", "/load", c.config(apps)); err != nil || status != http.StatusOK {
		t.Fatalf("caddy does not load it: %v\n%s\n%s", err, body, adapted)
	}
	return ports
}

// port is the name of a port's socket. An earlier configuration may still be about to end.
func (c *caddy) port(n int) string { return fmt.Sprintf("%d-%d", c.loads, n) }

// answering replaces each proxy by one that answers where it would send the request, and
// what it would send.
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
