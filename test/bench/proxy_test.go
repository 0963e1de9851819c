package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgo/test/rig"
)

// BenchmarkURL measures the time from saving a configuration with another URL to the first
// answer at that URL, through Caddy. For comparison, it measures the same by hand: the snippet
// is saved in the same Caddy's directory, and caddy is told to reload.
func BenchmarkURL(b *testing.B) {
	r := rig.New(b)
	web, proxy := r.Service("web"), r.Service("proxy")
	proxy.Set("import", "caddy/urls").Set("reload", "caddy caddy reload --config /etc/caddy/Caddyfile")
	front, network := rig.Front{HTTP: r.Port()}, r.Prefix+"-caddy"
	commit := proxy.Push("first", rig.Files{
		".gitignore":      "caddy/urls\n",
		"caddy/Caddyfile": "import urls\nimport by-hand*\n",
		"compose.yaml": fmt.Sprintf("services:\n  caddy:\n    image: %s\n    ports: [\"%d:80\"]\n    volumes: [\"./caddy/:/etc/caddy/\"]\n    networks: [proxy]\n"+
			"networks: {proxy: {name: %s}}\n", r.Caddy(), front.HTTP, network),
	})
	pgod := r.Start(proxy)
	deployed(b, pgod, proxy, commit)
	first := web.Push("first", rig.Files{"compose.yaml": fmt.Sprintf("services:\n  site:\n    image: %s\n    init: true\n"+
		"    command: [sh, -c, 'mkdir /www && echo hello >/www/index.html && exec httpd -f -p 8080 -h /www']\n    networks: [proxy]\n"+
		"networks: {proxy: {external: true, name: %s}}\n", r.Busybox(), network)})
	pgod.Configure(proxy, web)
	deployed(b, pgod, web, first)
	byHand := filepath.Join(pgod.Dir, "services", proxy.Name, "checkout", "caddy", "by-hand")
	reload := "docker exec " + rig.Containers(b, proxy.Name)[0].ID + " caddy reload --config /etc/caddy/Caddyfile"
	served := func(host string, change func()) float64 {
		b.Helper()
		start := time.Now()
		change()
		for {
			_, body, err := front.Get("http://" + host)
			switch took := time.Since(start); {
			case err == nil && body == "hello\n":
				return milliseconds(took)
			case took > time.Minute:
				b.Fatalf("%s is not served: it says %q, %v", host, body, err)
			}
			time.Sleep(time.Millisecond) // do not take the processor from what is measured
		}
	}
	for b.Loop() {
		var pgo, bare sample
		for i := range 5 {
			host := fmt.Sprintf("host%d.example.org", i)
			pgo = append(pgo, served(host, func() {
				web.Set("urls", map[string]string{"http://" + host: "site:8080"})
				pgod.Configure()
			}))
			host = "hand" + host
			bare = append(bare, served(host, func() {
				if err := os.WriteFile(byHand, []byte("http://"+host+" {\n\treverse_proxy site:8080\n}\n"), 0o644); err != nil {
					b.Fatal(err)
				}
				shell(b, r.Dir, proxy, reload)
			}))
		}
		compare(b, "ms", "pgo", pgo, "bare", bare)
	}
}

// BenchmarkReload measures how long an operator waits for //reload when one entry has changed,
// in a configuration with fifty services. For comparison, it measures the same in a
// configuration with one.
func BenchmarkReload(b *testing.B) {
	reload := func(n int) func(round int) float64 {
		r := rig.New(b)
		operator, web := r.Key("operator"), r.Service("web")
		services := []*rig.Service{web}
		for i := 1; i < n; i++ {
			services = append(services, r.Service(fmt.Sprintf("other%d", i)))
		}
		pgod := r.Pgod(services...)
		pgod.Flags = []string{"--restart=false"}
		pgod.Operators(operator)
		pgod.Start()
		for _, s := range services {
			pgod.WorkerPID(s) // waits for it
		}
		return func(round int) float64 {
			web.Set("interval", fmt.Sprintf("%dh", round))
			pgod.Configure()
			start := time.Now()
			said := pgod.SSH(operator, "//reload").Exits(b, 0).Stdout
			took := milliseconds(time.Since(start))
			if want := fmt.Sprintf("changed:   %s\n", web.Name); !strings.Contains(said, want) {
				b.Fatalf("the reload did something else: %s", said)
			}
			return took
		}
	}
	many, one := reload(50), reload(1)
	for b.Loop() {
		var manies, ones sample
		for i := range 10 {
			manies, ones = append(manies, many(i+1)), append(ones, one(i+1))
		}
		compare(b, "ms", "fifty", manies, "one", ones)
	}
}
