#!/bin/sh
# The part of today.sh that runs inside the namespaces, as their first process:
#
#   today-inside.sh <directory> <what comes first in PATH> <arguments of go test>
set -eu
dir=$1 PATH=$2$PATH
export PATH
shift 2

ip link set lo up
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/etc/new /run/etc/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/new,workdir=/run/etc/work overlay /etc
mkdir -p /usr/local/lib/docker/cli-plugins
for plugins in /usr/local/lib/docker/cli-plugins /usr/local/libexec/docker/cli-plugins /usr/lib/docker/cli-plugins /usr/libexec/docker/cli-plugins; do
	[ ! -d $plugins ] || mount --bind "$dir/plugins" $plugins
done
# Nothing of root's own plugins and contexts, and nothing of another run's notes.
unset DOCKER_HOST DOCKER_CONTEXT
export DOCKER_CONFIG="$dir/docker" TMPDIR="$dir/tmp"

# The engine. It starts a containerd of its own, since this /run has none.
printf '{"exec-opts": ["native.cgroupdriver=cgroupfs"]%s}\n' "${DAEMON:+, $DAEMON}" >"$dir/daemon.json"
# A shell's background commands ignore SIGINT, and under nohup all ignore SIGHUP; the containers'
# programs would, too.
env --default-signal dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" --exec-root /run/docker --pidfile /run/docker.pid \
	--host unix:///run/docker.sock --cgroup-parent "/$(basename "$dir")" >"$dir/dockerd.log" 2>&1 </dev/null &
engine=$!
tries=0
until found=$(docker version -f '{{.Server.Version}}' 2>/dev/null); do
	tries=$((tries + 1))
	if [ $tries -gt 240 ] || ! kill -0 $engine 2>/dev/null; then
		tail -n 30 "$dir/dockerd.log" >&2
		echo "today.sh: the engine ended or did not answer within 120 s; the end of its log is above" >&2
		exit 1
	fi
	sleep 0.5
done
printf '==> engine %s (%s), compose %s, buildx %s\n' "$found" "$(docker info -f '{{.Driver}}')" "$(docker compose version --short)" \
	"$(if [ -e "$dir/plugins/docker-buildx" ]; then docker buildx version | cut -d ' ' -f 2; else echo none; fi)" >&2

# Without the race detector: `make test` looks for races in the same code, and here the engine's
# answers count.
env --default-signal go test -count=1 -parallel 4 -timeout 75m "$@"
