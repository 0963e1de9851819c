#!/bin/sh
# Runs end-to-end tests on an engine of their own: by default on today's Docker, which
# `make machine` does not install. Needs root, Go and what machine.sh installs.
#
#   test/today.sh [--all] [flags of go test]
#
# Without --all it runs the tests that today.txt names.
#
#   ENGINE=29    the engine of test/tools/moby, or `host`: the programs that this machine has
#   COMPOSE=5    the plugin of test/tools/compose, or `2`: that of test/tools
#   BUILDX=yes   the plugin of test/tools/buildx, or `no`: none
#   CADDY=2.11   the proxy of test/tools/caddy, or `host`: that of this machine
#   DAEMON=…     more for the engine's daemon.json, such as '"firewall-backend": "nftables"'
#   CACHE=…      where the built programs are kept, by their pins (/var/cache/pgo-test)
#
# The engine and the tests share namespaces for network, mounts and processes, with a /run and an
# /etc of their own: sockets, users and firewall rules of this machine are not theirs, and all of
# them end together, also when this script is killed.
set -eu
cd "$(dirname "$0")/.."
say() { printf '==> %s\n' "$*" >&2; }
fail() { printf 'today.sh: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "needs root: it starts a Docker engine"
engine=${ENGINE:-29} compose=${COMPOSE:-5} buildx=${BUILDX:-yes} caddy=${CADDY:-2.11} cache=${CACHE:-/var/cache/pgo-test}
case $engine in 29 | host) ;; *) fail "ENGINE is 29 or host, not $engine" ;; esac
case $compose in 5 | 2) ;; *) fail "COMPOSE is 5 or 2, not $compose" ;; esac
case $caddy in 2.11 | host) ;; *) fail "CADDY is 2.11 or host, not $caddy" ;; esac
case $buildx in yes | no) ;; *) fail "BUILDX is yes or no, not $buildx" ;; esac

# Which tests. A name in the list that no test has would be a test that nobody runs any more.
if [ "${1:-}" = --all ]; then
	shift
	set -- ./test/... "$@"
else
	names=$(sed 's/ *#.*//; /^$/d' test/today.txt)
	for name in $names; do
		grep -q "^func $name(t \*testing.T)" test/*_test.go || fail "test/today.txt names $name, and no test in test/ has that name"
	done
	set -- ./test -run "^($(echo $names | tr ' ' '|'))\$" "$@"
fi

# What was built is kept by its pins and its flags; what no run has used for a month is removed.
mkdir -p "$cache"
find "$cache" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {} +
exec 8>"$cache/.lock"
flock 8 # the second of two runs finds what the first has built

# build <module below test/tools> <cgo> <tags> <flags of the linker> <program>=<package>...
# leaves the programs in $built.
build() {
	module=$1 cgo=$2 tags=$3 flags="-s -w $4"
	shift 4
	key=$({ cat "test/tools/$module/go.mod" "test/tools/$module/go.sum" && go env GOVERSION GOARCH && echo "$cgo $tags $flags $*"; } | sha256sum | cut -c 1-16)
	built=$cache/$(basename "$(realpath "test/tools/$module")")-$key
	if [ ! -d "$built" ]; then
		say "building $* (once)"
		rm -rf "$cache/new" && mkdir "$cache/new"
		for program in "$@"; do
			(cd "test/tools/$module" && CGO_ENABLED=$cgo go build -tags "$tags" -ldflags "$flags" -o "$cache/new/${program%%=*}" "${program#*=}")
		done
		mv "$cache/new" "$built"
	fi
	touch "$built"
}
version() { (cd "test/tools/$1" && go list -m -f '{{.Version}}' "$2"); }

path=
if [ $engine = 29 ]; then
	# runc without seccomp does not start the engine's containers.
	if ! { pkg-config --exists libseccomp && command -v cc; } >/dev/null 2>&1; then
		say "installing libseccomp-dev and pkg-config"
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev libseccomp-dev pkg-config; } >&2
	fi
	# The module does not know its release: v2.0.0-beta.24 is that of 29.9.0.
	moby=github.com/moby/moby/v2
	build moby 1 exclude_graphdriver_btrfs,no_btrfs "-X $moby/dockerversion.Version=29.9.0" dockerd=$moby/cmd/dockerd docker-proxy=$moby/cmd/docker-proxy
	path=$built
	containerd=github.com/containerd/containerd/v2/cmd
	build containerd 0 no_btrfs "" containerd=$containerd/containerd containerd-shim-runc-v2=$containerd/containerd-shim-runc-v2
	path=$path:$built
	build runc 1 seccomp "" runc=github.com/opencontainers/runc
	path=$path:$built:
fi
if [ $caddy = 2.11 ]; then
	proxy=github.com/caddyserver/caddy/v2
	build caddy 0 "" "-X $proxy.CustomVersion=$(version caddy $proxy)" caddy=$proxy/cmd/caddy
	path=$path$built:
fi
plugins=
if [ $compose = 5 ]; then
	plugin=github.com/docker/compose/v5
	build compose 0 "" "-X $plugin/internal.Version=$(version compose $plugin)" docker-compose=$plugin/cmd
else
	plugin=github.com/docker/compose/v2
	build . 0 "" "-X $plugin/internal.Version=$(version . $plugin)" docker-compose=$plugin/cmd
fi
plugins=$built/docker-compose
if [ $buildx = yes ]; then
	plugin=github.com/docker/buildx
	build buildx 0 "" "-X $plugin/version.Version=$(version buildx $plugin)" docker-buildx=$plugin/cmd/buildx
	plugins="$plugins $built/docker-buildx"
fi

# What a run leaves outside of its namespaces: its directory, and the cgroups of its containers.
remove() {
	find /sys/fs/cgroup -depth -type d -path "*/$(basename "$1")*" -exec rmdir {} + 2>/dev/null || true
	rm -rf "$1"
}
# What runs have left that were killed: nobody holds their lock any more.
for old in /tmp/pgo-today.??????; do
	[ -d "$old" ] && flock -n "$old/lock" true && remove "$old"
done
dir=$(mktemp -d /tmp/pgo-today.XXXXXX)
child=
end() {
	trap '' INT TERM HUP
	# The first process of the namespace; with it the kernel ends all others.
	[ -z "$child" ] || pkill -KILL -P "$child" || true
	wait
	remove "$dir"
}
trap end EXIT
trap 'exit 130' INT TERM HUP
exec 9>"$dir/lock"
flock 9
exec 8>&-
chmod 755 "$dir"
mkdir -m 1777 "$dir/tmp"
mkdir "$dir/plugins"
cp $plugins "$dir/plugins/"

setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc \
	test/today-inside.sh "$dir" "$path" "$@" 9>&- &
child=$!
wait $child && status=0 || status=$?
child=
exit $status
