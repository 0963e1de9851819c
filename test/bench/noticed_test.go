package bench

import (
	"fmt"
	"path/filepath"
	"testing"

	"pgo/test/rig"
)

// BenchmarkNoticed counts the requests that fail, per deploy of a site behind Caddy whose server dies
// when it is asked to end: by pgo in its three ways, and by the bare `docker compose up`. The load is
// that of rig.StartLoad.
func BenchmarkNoticed(b *testing.B) {
	for _, way := range []string{"recreate", "in-place", "start-first", "bare"} {
		b.Run(way, func(b *testing.B) {
			const deploys = 5
			r := rig.New(b)
			shop, proxy := r.Service("shop"), r.Service("proxy")
			front, network := rig.Front{HTTP: r.Port(), HTTPS: r.Port()}, r.Prefix+"-caddy"
			proxy.Set("import", "caddy/urls").Set("reload", "caddy caddy reload --config /etc/caddy/Caddyfile")
			shop.Set("urls", map[string]string{"http://shop.example.org": "shop:8080", "shop.example.org": "shop:8080"})
			if way != "bare" {
				shop.Set("deploy", way)
			}
			commit := proxy.Push("first", rig.Files{
				"caddy/Caddyfile": "{\n\tlocal_certs\n\tskip_install_trust\n}\nimport urls\n",
				"compose.yaml": fmt.Sprintf("services:\n  caddy:\n    image: %s\n    ports: [\"%d:80\", \"%d:443\"]\n    volumes: [\"./caddy/:/etc/caddy/\"]\n"+
					"    networks: [proxy]\nnetworks: {proxy: {name: %s}}\n", r.Caddy(), front.HTTP, front.HTTPS, network),
			})
			pgod := r.Start(proxy)
			deployed(b, pgod, proxy, commit)
			r.Trust(&front, rig.Containers(b, proxy.Name)[0].ID)
			files := func(n int) rig.Files {
				return rig.Files{"compose.yaml": fmt.Sprintf(`services:
  shop:
    image: %s
    init: true
    environment: {NAME: "v%d", END: dies, READY_AFTER: 500ms}
    healthcheck: {test: [CMD, wget, -q, -O, /dev/null, 'http://127.0.0.1:8080/'], interval: 500ms, retries: 40}
    networks: [proxy]
networks: {proxy: {external: true, name: %s}}
`, r.Shop(), n, network)}
			}
			commit = shop.Push("v0", files(0))
			dir := filepath.Join(r.Dir, "clone")
			deploy := func(n int) {
				b.Helper()
				commit = shop.Push(fmt.Sprint("v", n), files(n))
				if way != "bare" {
					deployed(b, pgod, shop, commit)
					return
				}
				shell(b, dir, shop, "git fetch --quiet && git reset --quiet --hard FETCH_HEAD && docker compose up -d --wait")
			}
			// The URLs come from an entry; what runs there comes from a clone.
			if way == "bare" {
				pgod.Configure(proxy, shop.Set("ignore", true))
				shell(b, r.Dir, shop, "git clone --quiet "+shop.Setting("repository").(string)+" clone && cd clone && docker compose up -d --wait")
			} else {
				pgod.Configure(proxy, shop)
				deployed(b, pgod, shop, commit)
			}
			rig.Until(b, "an answer", func() error {
				status, body, err := front.Get("https://shop.example.org/")
				if err == nil && status != 200 {
					err = fmt.Errorf("it says %d %q", status, body)
				}
				return err
			})
			for b.Loop() {
				load := front.StartLoad("shop.example.org", "v")
				for n := range deploys {
					deploy(n + 1)
				}
				requests, failures := load.End()
				b.ReportMetric(float64(len(failures))/deploys, "failed/deploy")
				b.ReportMetric(float64(requests)/deploys, "requests/deploy")
			}
		})
	}
}
