package main

import "fmt"

// What the demo makes on the machine. The names are long, since what bears them
// is removed.
const (
	dir   = "/tmp/pgo-demo"
	web   = "pgo-demo-web" // the service, its user and its compose project
	clock = "pgo-demo-clock"
	image = "pgo-demo/busybox:1"
)

// session is what the demo shows. Each line is run as it stands.
func session(root string, ssh, port int) []step {
	pgoctl := func(key, service, operation string) string {
		return fmt.Sprintf("pgoctl -p %d --known-hosts hosts -i %s.key localhost:%s//%s", ssh, key, service, operation)
	}
	ask := func(operation string) string { return pgoctl("web", web, operation) }
	get := fmt.Sprintf("busybox wget -qO- http://127.0.0.1:%d/", port)

	return []step{{
		title: "A repository with a site",
		about: "It has a static server in an image FROM scratch, and in ssh/ the public key of who may control it.",
		lines: []line{
			{run: fmt.Sprintf("cd %s; PATH=%s/bin:$PATH", dir, root)},
			{run: fmt.Sprintf("cp -r %s/test/demo/web web && cat web/compose.yaml", root)},
			{run: fmt.Sprintf("CGO_ENABLED=0 go build -C %s -buildvcs=false -o $PWD/web/site ./test/images/site", root)},
			{run: "ssh-keygen -q -t ed25519 -N '' -C web -f web.key && install -D web.key.pub web/ssh/web.pub"},
			{run: "git init -q -b main web && git -C web add . && git -C web commit -qm 'Say hello'"},
		},
	}, {
		title: "A repository with a clock",
		about: "It runs on a busybox that is imported, so that nothing is pulled.",
		lines: []line{
			{run: fmt.Sprintf("cp -r %s/test/demo/clock clock && cat clock/compose.yaml", root)},
			{run: "tar -C /bin -c busybox | docker import - " + image, says: "sha256:"},
			{run: "ssh-keygen -q -t ed25519 -N '' -C clock -f clock.key && install -D clock.key.pub clock/ssh/clock.pub"},
			{run: "git init -q -b main clock && git -C clock add . && git -C clock commit -qm 'Tell the time'"},
		},
	}, {
		title: "pgod",
		about: "Each service has a Unix user of its own. pgod looks at the branches every second here; its default is a minute.",
		lines: []line{
			{run: "useradd --system " + web + " && useradd --system " + clock},
			{run: fmt.Sprintf(configure, web, port, clock)},
			{run: fmt.Sprintf("setsid pgod -c pgo.toml -d pgo -s localhost:%d -t 1s >pgod.log 2>&1 </dev/null & echo $! >pgod.pid", ssh)},
		},
	}, {
		title: "ping",
		about: "The key is found in the repository and the worker answers. The host's key is new, and remembered in the file hosts.",
		lines: []line{
			{run: "pgoctl --accept-new" + ask("ping")[len("pgoctl"):], says: "pong!", until: "from the start of pgod"},
		},
	}, {
		title: "The first deploy",
		about: "Cloned, built, started: the site answers on the port that it publishes.",
		lines: []line{
			{run: get, says: "Hello from the first commit", until: "from ping to the first answer"},
			{run: ask("ps"), says: "Up"},
		},
	}, {
		title: "Who runs what",
		about: "pgod alone is root. Each worker is its service's user, with the group docker added.",
		lines: []line{
			{run: "ps -o pid,user:15,supgrp:25,args --ppid $(cat pgod.pid)", says: clock},
		},
	}, {
		title: "A commit",
		about: "The compose file changes; pgod's worker sees it, and deploys it.",
		lines: []line{
			{run: "sed -i 's/the first/another/' web/compose.yaml && git -C web commit -qam 'Say something else'"},
			{run: get, says: "Hello from another commit", until: "from commit to answer"},
			{run: ask("status"), says: "compose file changed", until: "until it is recorded as deployed"},
		},
	}, {
		title: "logs",
		about: "What the containers print, as docker compose shows it.",
		lines: []line{
			{run: ask("logs --tail 3"), says: "GET / HTTP"},
			{run: pgoctl("clock", clock, "logs --tail 3"), says: "UTC"},
		},
	}, {
		title: "Strangers",
		about: "A key that no repository has, and the key of another service: both are refused, in the same words.",
		lines: []line{
			{run: "ssh-keygen -q -t ed25519 -N '' -f stranger.key"},
			{run: pgoctl("stranger", web, "ps"), says: refusal, ends: 77},
			{run: pgoctl("clock", web, "ps"), says: refusal, ends: 77},
		},
	}, {
		title: "Any SSH client will do",
		about: "The words are the same. ssh shows statuses modulo 256, so that 401 is 145.",
		lines: []line{
			{run: fmt.Sprintf("ssh -F none -p %d -o UserKnownHostsFile=hosts -i web.key anyone@localhost -- %s//ping", ssh, web), says: "pong!"},
			{run: fmt.Sprintf("ssh -F none -p %d -o UserKnownHostsFile=hosts -i clock.key root@localhost -- %s//ping", ssh, web), says: refusal, ends: 145},
		},
	}, {
		title: "A worker is killed",
		about: "pgod starts another. The containers are Docker's children, and notice nothing.",
		lines: []line{
			{run: "kill -9 $(pgrep -xu " + web + " pgo-worker)"},
			{run: ask("status"), says: ", 1 restart", until: "from kill to the new worker"},
			{run: ask("ping"), says: "pong!"},
			{run: get, says: "Hello from another commit"},
		},
	}, {
		title: "down",
		about: "It is taken down, and stays down: also when there is something new to deploy.",
		lines: []line{
			{run: ask("down"), says: "Removed"},
			{run: "sed -i 's/another/the last/' web/compose.yaml && git -C web commit -qam 'Say goodbye'"},
			{run: ask("status") + " | grep $(git -C web rev-parse --short=7 HEAD)", says: "head:", until: "from commit to fetched"},
			{run: ask("status"), says: "wanted:    down"},
			{run: get, says: "refused", ends: 1},
		},
	}, {
		title: "up",
		about: "It ends a down, and deploys what was fetched.",
		lines: []line{
			{run: ask("up"), says: "Started"},
			{run: get, says: "Hello from the last commit", until: "to the answer"},
		},
	}}
}

// refusal is what a key gets to hear that may not use the service.
const refusal = `Unauthorized: Key for user "root" does not match any for name ` + web

// configure writes the configuration.
const configure = `cat >pgo.toml <<END
[[services]]
name = "%[1]s"
user = "%[1]s"
repository = "file://` + dir + `/web"
env = ["PORT=%[2]d"]

[[services]]
name = "%[3]s"
user = "%[3]s"
repository = "file://` + dir + `/clock"
END`
