package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgo/test/rig"
)

// gateway is a service that is the reverse proxy of the others.
type gateway struct {
	r       *rig.Rig
	service *rig.Service
	network string
	front   rig.Front

	command string   // of Caddy, as YAML; empty: the image's
	mounts  []string // of Caddy
	imports string   // what its Caddyfile imports
	sites   string   // in its Caddyfile, in addition to those of the snippet
}

// snippetFile is where the gateway has its snippet.
const snippetFile = "caddy/Caddyfile-import"

// newGateway makes the service after those that it forwards requests to: its network is removed
// after what is on it.
func newGateway(r *rig.Rig) *gateway {
	service := r.Service("default").Set("import", snippetFile)
	return &gateway{
		r: r, service: service, network: r.Prefix + "-caddy",
		front:   rig.Front{HTTP: r.Port(), HTTPS: r.Port()},
		mounts:  []string{"./caddy/:/etc/caddy/"},
		imports: "Caddyfile-import",
	}
}

// files returns the repository: all but the image and the ports is as in the README of
// miekg/pgo.
func (g *gateway) files() rig.Files {
	command := ""
	if g.command != "" {
		command = "    command: " + g.command + "\n"
	}
	return rig.Files{
		".gitignore":      snippetFile + "\n",
		"caddy/Caddyfile": "{\n\tlocal_certs\n\tskip_install_trust\n}\n\nimport " + g.imports + "\n" + g.sites,
		"compose.yaml": fmt.Sprintf(`services:
  caddy:
    image: %s
%s    restart: unless-stopped
    ports:
      - "%d:80"
      - "%d:443"
    volumes:
      - %s
    networks:
      - caddynet

networks:
    caddynet:
      name: %s
`, g.r.Caddy(), command, g.front.HTTP, g.front.HTTPS, strings.Join(g.mounts, "\n      - "), g.network),
	}
}

// behind returns compose services on the gateway's network, each of which answers with its name
// and its container's, and with another text below a path of its name.
func (g *gateway) behind(names ...string) string {
	text := "services:\n"
	for _, name := range names {
		text += fmt.Sprintf(`  %[1]s:
    image: %[2]s
    init: true
    command: [sh, -c, 'mkdir -p /www/%[1]s && echo "%[1]s $$(cat /etc/hostname)" >/www/index.html && echo below %[1]s >/www/%[1]s/index.html && exec httpd -f -p 8080 -h /www']
    networks: [proxy]
`, name, g.r.Busybox())
	}
	return text + "networks: {proxy: {external: true, name: " + g.network + "}}\n"
}

// answers waits until the answer of the URL begins with want.
func (g *gateway) answers(t *testing.T, url, want string) {
	t.Helper()
	rig.Until(t, fmt.Sprintf("%s to say %q", url, want), func() error {
		status, body, err := g.front.Get(url)
		if err == nil && (status != http.StatusOK || !strings.HasPrefix(body, want)) {
			err = fmt.Errorf("it says %d %q", status, body)
		}
		return err
	})
}

// leadsNowhere reports a URL that some backend answers.
func (g *gateway) leadsNowhere(t *testing.T, url string) {
	t.Helper()
	if status, body, err := g.front.Get(url); err == nil && body != "" {
		t.Errorf("%s says %d %q", url, status, body)
	}
}

// caddy returns the proxy's container.
func (g *gateway) caddy(t *testing.T) string {
	t.Helper()
	return rig.Containers(t, g.service.Name)[0].ID
}

// told returns how often the proxy was told about a new snippet.
func (g *gateway) told(t *testing.T) int {
	t.Helper()
	return strings.Count(docker(t, "exec", g.caddy(t), "sh", "-c", "touch /tmp/told; cat /tmp/told"), "\n")
}

// toldCommand reloads Caddy, and counts how often. It can be held up, and made to fail.
const toldCommand = `caddy sh -c 'echo once >>/tmp/told; while test -e /tmp/wait; do sleep 0.1; done; ` +
	`if test -e /tmp/fail; then echo cannot; echo not now; exit 3; fi; caddy reload --config /etc/caddy/Caddyfile'`

type urls map[string]string

// proxyStatus is what `status --json` says about a proxy.
type proxyStatus struct {
	State    string
	Warnings []string
	Unwell   []string
	Error    *struct{ Text string }
	Proxy    *struct {
		Import, Reload, Error string
		WrittenAt             time.Time `json:"written_at"`
		ReloadedAt            time.Time `json:"reloaded_at"`
	}
}

func proxyOf(t *testing.T, pgod *rig.Pgod, s *rig.Service) (found proxyStatus) {
	t.Helper()
	text := pgod.SSH(s.Key, s.Op("status"), "--json").Exits(t, 0).Stdout
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		t.Fatalf("status --json says %q: %v", text, err)
	}
	return found
}

// knows waits until the proxy has been told, and nothing is wrong with it.
func (g *gateway) knows(t *testing.T, pgod *rig.Pgod) {
	t.Helper()
	rig.Until(t, "the proxy to know all URLs", func() error {
		s := proxyOf(t, pgod, g.service)
		if s.State != "running" || s.Error != nil || s.Unwell != nil || s.Proxy == nil || s.Proxy.Reload != "reloaded" || s.Proxy.Error != "" {
			return fmt.Errorf("its status is %+v", s)
		}
		return nil
	})
}

// lies describes a file on the disk, to see whether it was touched.
func lies(t *testing.T, file string) string {
	t.Helper()
	info, err := os.Lstat(file)
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	return fmt.Sprint(stat.Ino, info.ModTime(), info.Mode(), " of ", stat.Uid)
}
