#!/bin/bash
# The comparison of docs/performance.md, from a fresh clone: see usage below.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
# shellcheck source=deploy/lib.sh
. "$root/deploy/lib.sh"

usage() {
	cat <<'END'
usage: tests/bench/run.sh [--quick] [options]

Installs the servers Gatehouse is compared with, builds Gatehouse as a release and two bare
epoll loops, runs every scenario over all of them in interleaved passes (servers on one core,
the load on another), and prints tables: CPU, memory, latency, growth, and which targets are
met. Everything is on loopback, and ends by itself.

  --quick               one short pass of everything, in minutes: to see that it works
  --passes N            how many passes (3)
  --duration TIME       of each measurement (5s; connects and idle are as long as they are)
  --scenarios A,B*      only these (--list names them)
  --servers A,B*        only these
  --server-cpus LIST    cores of the servers, as taskset has them (0)
  --load-cpus LIST      cores of the load (1)
  --profile             also profile Gatehouse by function (perf) in the three main scenarios
  --json FILE           where results go (build/bench/results.json)
  --doc                 write the figures into docs/performance.md, the pictures beside it
  --from FILE           do not measure: tables and pictures of earlier results
  --no-install          install nothing; what is missing is not measured
  --list                name scenarios and servers

A full run takes about an hour. For figures to keep, nothing else should run meanwhile.
END
}

install=yes
measure=yes
arguments=()
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		usage
		exit 0
		;;
	--no-install) install=no ;;
	--list)
		exec node tests/bench/list.mjs
		;;
	--from)
		measure=no
		arguments+=("$1" "${2-}")
		shift
		;;
	--quick | --doc | --profile) arguments+=("$1") ;;
	--passes | --duration | --scenarios | --servers | --server-cpus | --load-cpus | --json)
		[ $# -gt 1 ] || fail "$1 needs a value." "See tests/bench/run.sh --help."
		arguments+=("$1" "$2")
		shift
		;;
	*) fail "Unknown option '$1'." "See tests/bench/run.sh --help." ;;
	esac
	shift
done

logs=$root/build/logs
mkdir -p "$logs"

# shellcheck disable=SC2317 # called through step
npm_packages() {
	if ! cmp -s package-lock.json node_modules/.lock-copy; then
		npm ci --ignore-scripts --no-audit --no-fund && cp package-lock.json node_modules/.lock-copy
	fi
}

# shellcheck disable=SC2317 # called through step
build() {
	cmake --preset release -B build/bench -DGATEHOUSE_TESTS=ON &&
		cmake --build build/bench --target gatehouse bench-raw plain-loop fixed-body
}

if [ $measure = yes ]; then
	if [ $install = yes ]; then
		say "Looking for what is needed"
		deploy/install.sh build run bench || fail "Not everything could be installed."
		(cd tests/bench && step "$logs/bench-npm.log" "npm packages: socket.io, Bun" npm_packages) ||
			fail "npm could not install the servers."
	fi
	say "" "Building"
	step "$logs/bench-build.log" "gcc, release, and the plain loops" build || exit 1
	say "" "Measuring"
fi
exec node tests/bench/driver.mjs "${arguments[@]}"
