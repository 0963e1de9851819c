#!/bin/sh
# Prepares this Debian machine for the demo and the tests: installs and starts only what is
# missing, and prints nothing if nothing is missing. Needs root and Go.
#
# A running engine and an installed compose plugin are used as they are.
set -eu
cd "$(dirname "$0")/.."
say() { printf '==> %s\n' "$*" >&2; }

[ "$(id -u)" = 0 ] || { echo "machine.sh: needs root: it installs packages and starts the Docker engine" >&2; exit 1; }

# Commands, each with the package to install if it is missing: a machine may have dockerd from
# elsewhere than the package.
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need dockerd docker.io
need docker docker.io
need ssh openssh-client
need sshd openssh-server
need caddy caddy
need docker-registry docker-registry
need iptables iptables
need rootlesskit rootlesskit # with the next two, an engine without root
need slirp4netns slirp4netns
need newuidmap uidmap
need ps procps
need cc gcc # the race detector needs cgo
need protoc protobuf-compiler # to check what was generated
# The tests' images have nothing but busybox, which must not need libraries.
{ [ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1; } || missing="$missing busybox-static"
# The tests' Python client; its package brings Python where that is missing.
/usr/bin/python3 -c 'import paramiko' >/dev/null 2>&1 || missing="$missing python3-paramiko"
[ -e /usr/include/stdlib.h ] || missing="$missing libc6-dev"
if [ -n "$missing" ]; then
	say "installing$missing"
	log=$(mktemp)
	# The packages' own services must not start: nothing here needs a system-wide caddy, sshd
	# or registry.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	fi
	if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
		cat "$log" >&2
		echo "machine.sh: cannot install$missing; apt-get's output is above" >&2
		exit 1
	fi
	rm -f "$log"
fi

# The compose plugin: Debian's packages have only version 1, so it is built
# from its own module, pinned in test/tools/go.mod.
plugins=/usr/local/lib/docker/cli-plugins
found=
for dir in $plugins /usr/local/libexec/docker/cli-plugins /usr/lib/docker/cli-plugins /usr/libexec/docker/cli-plugins; do
	[ -x "$dir/docker-compose" ] && found=$dir
done
if [ -z "$found" ]; then
	version=$(cd test/tools && go list -m -f '{{.Version}}' github.com/docker/compose/v2)
	say "building the compose plugin $version (about two minutes)"
	mkdir -p $plugins
	(cd test/tools && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=$version" \
		-o $plugins/.docker-compose.new github.com/docker/compose/v2/cmd)
	mv $plugins/.docker-compose.new $plugins/docker-compose
fi

# The engine.
engine() { docker version -f '{{.Server.Version}}' >/dev/null 2>&1; }
if ! engine; then
	getent group docker >/dev/null || groupadd --system docker
	if [ -d /run/systemd/system ]; then
		say "starting the Docker engine with systemd"
		systemctl start docker
	else
		say "starting the Docker engine (log: /var/log/dockerd.log)"
		# Whoever runs this may ignore signals (nohup); the containers' programs would, too.
		setsid env --default-signal dockerd >>/var/log/dockerd.log 2>&1 </dev/null &
	fi
	tries=0
	until engine; do
		tries=$((tries + 1))
		if [ $tries -gt 120 ]; then
			tail -n 30 /var/log/dockerd.log >&2 2>/dev/null || true
			echo "machine.sh: the Docker engine did not answer within 60 s; the end of its log is above" >&2
			exit 1
		fi
		sleep 0.5
	done
fi
