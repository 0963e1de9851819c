package main

import (
	"fmt"
	"strings"
)

// What the demo makes on the machine. The names are long, since everything with one of them is
// removed.
const (
	dir     = "/tmp/pgo-demo"
	web     = "pgo-demo-web" // the service, its user and its compose project
	clock   = "pgo-demo-clock"
	proxy   = "pgo-demo-default" // of root's
	busybox = "pgo-demo/busybox:1"
	caddy   = "pgo-demo/caddy:1"
)

// refusal is the answer to a key that may not use the site.
const refusal = `Unauthorized: Key for user "root" does not match any for name ` + web

// session is what the demo shows. Each command line is run as shown.
func (d *demo) session() []step {
	return []step{{
		title: "A repository with a site",
		about: "A static server FROM scratch. The public key in ssh/ may control it.",
		lines: []line{
			{run: d.enter()},
			{run: fmt.Sprintf("cp -r %s/test/demo/web web && cat web/compose.yaml", d.root)},
			{run: fmt.Sprintf("CGO_ENABLED=0 go build -C %s -buildvcs=false -o $PWD/web/site ./test/images/site", d.root)},
			{run: "ssh-keygen -q -t ed25519 -N '' -C web -f web.key && install -D web.key.pub web/ssh/web.pub"},
			{run: "git init -q -b main web && git -C web add . && git -C web commit -qm 'Say hello'"},
		},
	}, {
		title: "A repository with a clock",
		about: "It runs on a busybox that is imported here, so that nothing is pulled.",
		lines: []line{
			{run: fmt.Sprintf("cp -r %s/test/demo/clock clock && cat clock/compose.yaml", d.root)},
			{run: "tar -C /bin -c busybox | docker import - " + busybox, says: "sha256:"},
			{run: "ssh-keygen -q -t ed25519 -N '' -C clock -f clock.key && install -D clock.key.pub clock/ssh/clock.pub"},
			{run: "git init -q -b main clock && git -C clock add . && git -C clock commit -qm 'Tell the time'"},
		},
	}, {
		title: "pgod",
		about: "Each service gets a user of its own. pgod looks at the branches every second here, not every minute.",
		lines: []line{
			{run: "useradd --system " + web + " && useradd --system " + clock},
			{run: fmt.Sprintf(configure, web, d.httpPort, clock)},
			{run: fmt.Sprintf("setsid pgod -c pgo.toml -d pgo -s localhost:%d -t 1s >pgod.log 2>&1 & echo $! >pgod.pid", d.sshPort)},
		},
	}, {
		title: "ping",
		about: "The key is in the repository and the worker answers. The host's key is new, and kept in the file hosts.",
		lines: []line{
			{run: strings.Replace(d.web("ping"), " ", " --accept-new ", 1), says: "pong!", until: "from the start of pgod"},
		},
	}, {
		title: "The first deploy",
		about: "Fetched, built, started: the site answers on the port that it publishes.",
		lines: []line{
			{run: d.get(), says: "Hello from the first commit", until: "more to the first answer"},
			{run: d.web("ps"), says: "Up"},
		},
	}, {
		title: "Users and processes",
		about: "pgod is root. Its workers are their services' users, with the group docker.",
		lines: []line{
			{run: "ps -o pid,user:15,supgrp:25,args --ppid $(cat pgod.pid)", says: "docker"},
		},
	}, {
		title: "A commit",
		about: "It changes compose.yaml. The worker sees that, and deploys it.",
		lines: []line{
			{run: "sed -i 's/the first/another/' web/compose.yaml && git -C web commit -qam 'Say something else'"},
			{run: d.get(), says: "Hello from another commit", until: "from commit to answer"},
			{run: d.web("status"), says: "idle", until: "more until it counts as deployed"},
		},
	}, {
		title: "logs",
		about: "What the containers print.",
		lines: []line{
			{run: d.web("logs --tail 3"), says: "GET / HTTP"},
			{run: d.clock("logs --tail 3"), says: "UTC"},
		},
	}, {
		title: "A command in a container",
		about: "Its input and its exit status are those of the command line. At a terminal it would have one.",
		lines: []line{
			{run: "date | " + d.clock("exec clock /busybox wc -l"), says: "1"},
			{run: d.clock("exec clock /busybox sh -c 'exit 3'"), says: "status 3", ends: 3},
		},
	}, {
		title: "Strangers",
		about: "A key that is in no repository and the key of another service are refused with the same words.",
		lines: []line{
			{run: "ssh-keygen -q -t ed25519 -N '' -f stranger.key"},
			{run: d.pgoctl("stranger", web, "ps"), says: refusal, ends: 77},
			{run: d.pgoctl("clock", web, "ps"), says: refusal, ends: 77},
		},
	}, {
		title: "Any SSH client will do",
		about: "The words are the same. ssh shows an exit status modulo 256: 401 is 145.",
		lines: []line{
			{run: d.ssh("web", web+"//ping"), says: "pong!"},
			{run: d.ssh("clock", web+"//ping"), says: refusal, ends: 145},
		},
	}, {
		title: "A worker is killed",
		about: "pgod starts another. The containers are the engine's, and keep running.",
		lines: []line{
			{run: "kill -9 $(pgrep -xu " + web + " pgo-worker)"},
			{run: d.web("ping"), says: "pong!", until: "from kill to pong"},
			{run: d.web("status"), says: "restarts: 1"},
			{run: d.get(), says: "Hello from another commit"},
		},
	}, {
		title: "A commit that asks for too much",
		about: "With it, whoever can push could become root. It is refused before any of it runs: a client that asks all the time gets every answer.",
		lines: []line{
			{run: "{ while [ ! -e enough ]; do " + d.get() + " >answer 2>&1 && echo answered || echo failed; done; echo ended; } >requests.log 2>&1 &"},
			{run: "sed -i '/build:/i\\    privileged: true' web/compose.yaml && git -C web commit -qam 'Take over the host'"},
			{run: d.web("status"), says: "services.site.privileged: true is refused", until: "from commit to refusal"},
			{run: d.web("check"), says: "is refused", ends: 78},
		},
	}, {
		title: "A commit that wants another's port",
		about: "pgo.toml says which host ports a service may publish.",
		lines: []line{
			{run: "sed -i -e '/privileged/d' -e 's/${PORT}/22/' web/compose.yaml && git -C web commit -qam 'Be the SSH server'"},
			{run: d.web("status"), says: "published: 22 is refused", until: "from commit to refusal"},
			{run: "touch enough"},
			{run: "sort requests.log | uniq -c", says: "ended", until: "until the client has stopped asking"},
			{run: "grep failed requests.log", ends: 1},
		},
	}, {
		title: "A commit that does not work",
		about: "Its health check fails. The last good deploy runs again, and the commit is not tried again.",
		lines: []line{
			{run: "sed -i -e 's/:22:/:${PORT}:/' -e 's/another/a broken/' web/compose.yaml && cat >>web/compose.yaml <<END\n" +
				"    healthcheck: {test: [CMD, /site, --again], interval: 1s, retries: 2}\nEND\ngit -C web commit -qam 'Break it'"},
			{run: d.web("status"), says: "went back to", until: "from commit to the last good deploy running again"},
			{run: d.get(), says: "Hello from another commit", until: "more to an answer"},
			{run: d.web("history"), says: "degraded"},
			{run: "git -C web revert --no-edit HEAD | head -n 1 && sed -i 's/:22:/:${PORT}:/' web/compose.yaml && git -C web commit -qam 'Mend it'"},
			{run: d.web("status"), says: "last:      deployed", until: "from commit to a service that is well"},
		},
	}, {
		title: "down",
		about: "The service is taken down and stays down, even when there is a new commit.",
		lines: []line{
			{run: d.web("down"), says: "Removed"},
			{run: "sed -i 's/another/the last/' web/compose.yaml && git -C web commit -qam 'Say one thing more'"},
			{run: d.web("status") + " | grep -A2 $(git -C web rev-parse --short=7 HEAD)", says: "idle", until: "from commit to a poll that leaves it alone"},
			{run: d.web("status"), says: "wanted:    down"},
			{run: d.get(), says: "refused", ends: 1},
		},
	}, {
		title: "up",
		about: "It ends a down, and deploys what is fetched.",
		lines: []line{
			{run: d.web("up"), says: "Started"},
			{run: d.get(), says: "Hello from the last commit", until: "after up"},
		},
	}, {
		title: "A reverse proxy",
		about: "A Caddy, imported here as well. Its Caddyfile imports a file that its repository ignores, and pgod writes.",
		lines: []line{
			{run: fmt.Sprintf("cp -r %s/test/demo/proxy proxy && cat proxy/compose.yaml proxy/caddy/Caddyfile", d.root)},
			{run: importCaddy, says: "sha256:"},
			{run: "ssh-keygen -q -t ed25519 -N '' -C proxy -f proxy.key && install -D proxy.key.pub proxy/ssh/proxy.pub"},
			{run: "git init -q -b main proxy && git -C proxy add . && git -C proxy commit -qm 'Forward requests'"},
		},
	}, {
		title: "A URL",
		about: "The site joins the proxy's network, which does not exist yet, and pgo.toml names its URL. pgod reads that when it is saved.",
		lines: []line{
			{run: "cat >>web/compose.yaml <<END\n    networks: [default, proxy]\nnetworks: {proxy: {external: true, name: pgo-demo}}\nEND\n" +
				"git -C web commit -qam 'Join the proxy'"},
			{run: fmt.Sprintf(configureProxy, proxy, d.proxyPort)},
			{run: "sed -i '/^gate/a urls = { \"http://web.example.org\" = \"site:8080\" }' pgo.toml"},
			{run: d.visit("web.example.org"), says: "Hello from the last commit", until: "to an answer through the proxy"},
			{run: "cat pgo/services/" + proxy + "/checkout/caddy/Caddyfile-import", says: "reverse_proxy site:8080"},
		},
	}, {
		title: "Another URL",
		about: "The snippet is written again, and Caddy reloaded. No container is restarted.",
		lines: []line{
			{run: "sed -i 's/web.example.org/www.example.org/' pgo.toml"},
			{run: d.visit("www.example.org"), says: "Hello from the last commit", until: "from saving pgo.toml to an answer"},
			{run: d.pgoctl("proxy", proxy, "status"), says: "reload: reloaded", until: "more until that is in the status"},
		},
	}}
}

// importCaddy makes an image of the machine's own Caddy and the libraries that it loads.
const importCaddy = `tar -C / -ch usr/bin/caddy $(ldd /usr/bin/caddy | grep -o 'lib[^ ]*/[^ ]*') |
  docker import --change 'ENV XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config' --change 'CMD ["/usr/bin/caddy", "run", "--config", "/etc/caddy/Caddyfile"]' - ` + caddy

// configureProxy adds the proxy to the configuration.
const configureProxy = `cat >>pgo.toml <<END

[[services]]
name = "%[1]s"
user = "root"
repository = "file://` + dir + `/proxy"
env = ["PORT=%[2]d"]
import = "caddy/Caddyfile-import"
reload = "caddy caddy reload --config /etc/caddy/Caddyfile"
END`

// configure writes the configuration.
const configure = `cat >pgo.toml <<END
[[services]]
name = "%[1]s"
user = "%[1]s"
repository = "file://` + dir + `/web"
env = ["PORT=%[2]d"]
ports = ["%[2]d"]
gate = "15s"

[[services]]
name = "%[3]s"
user = "%[3]s"
repository = "file://` + dir + `/clock"
END`

func (d *demo) enter() string {
	return fmt.Sprintf("cd %s; PATH=%s/bin:$PATH", dir, d.root)
}

func (d *demo) pgoctl(key, service, operation string) string {
	return fmt.Sprintf("pgoctl -p %d --known-hosts hosts -i %s.key localhost:%s//%s", d.sshPort, key, service, operation)
}

func (d *demo) web(operation string) string   { return d.pgoctl("web", web, operation) }
func (d *demo) clock(operation string) string { return d.pgoctl("clock", clock, operation) }

func (d *demo) ssh(key, command string) string {
	return fmt.Sprintf("ssh -F none -p %d -o UserKnownHostsFile=hosts -i %s.key localhost -- %s", d.sshPort, key, command)
}

func (d *demo) get() string {
	return fmt.Sprintf("busybox wget -qO- http://127.0.0.1:%d/", d.httpPort)
}

// visit asks the proxy for a URL's page.
func (d *demo) visit(host string) string {
	return fmt.Sprintf("busybox wget -qO- --header 'Host: %s' http://127.0.0.1:%d/", host, d.proxyPort)
}

// keptText is the end of a demo that stays.
func (d *demo) keptText() string {
	return fmt.Sprintf(`
KEEP=1: everything stays. To play with it, as root:

  %s
  %s
  %s
  %s
  %s
  sed -i 's/Hello/Goodbye/' web/compose.yaml && git -C web -c user.name=me -c user.email=me@localhost commit -qam 'Say goodbye'
  tail -f pgod.log

To end it, or run make demo again:

  cd %s && go run ./test/demo -clean
`, d.enter(), d.web("status"), d.web("logs -f"), d.get(), d.visit("www.example.org"), d.root)
}
