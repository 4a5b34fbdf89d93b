#!/bin/bash
# A whole Gatehouse cluster on this machine, from a fresh clone: see usage below.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=deploy/lib.sh
. "$root/deploy/lib.sh"

usage() {
	cat <<'END'
usage: deploy/local.sh [--port N] [--nodes N] [--workers N] [--config FILE] [--pages DIR]
                       [--no-build] [--build-dir DIR]

Installs what is missing, builds, and starts a cluster on this machine: a private Redis,
Gatehouse nodes, and HAProxy in front of them. Ctrl-C stops everything and leaves nothing
behind. Everything listens on the loopback only, with open rooms: it is for trying out.

  --port N         where to find the chat page (default 3000)
  --nodes N        how many nodes, 1 to 16 (default 3)
  --workers N      processes of each node, 1 to 16 (default 1): nodes as on machines with
                   several cores
  --config FILE    what the nodes' configuration is beside --dev: namespaces, rooms, queues
  --pages DIR      pages of your own instead of the chat page
  --no-build       install and build nothing; use the program that is there
  --build-dir DIR  where the program is built (default build/release)

An example with pages and rules of its own:

  deploy/local.sh --config examples/parcels/gatehouse.yaml --pages examples/parcels/pages

Several can run beside each other on different ports.
END
}

port=3000
nodes=3
workers=1
config=
pages=
build=yes
build_dir=$root/build/release

number() { # <option> <value> <min> <max>
	if ! [[ $2 =~ ^[0-9]{1,5}$ ]] || [ "$((10#$2))" -lt "$3" ] || [ "$((10#$2))" -gt "$4" ]; then
		fail "$1 takes a number from $3 to $4, not '$2'."
	fi
}

while [ $# -gt 0 ]; do
	case $1 in
	--port | --nodes | --workers | --config | --pages | --build-dir)
		[ $# -ge 2 ] || fail "$1 needs a value." "See deploy/local.sh --help."
		case $1 in
		--port) number "$1" "$2" 1 65535 && port=$((10#$2)) ;;
		--nodes) number "$1" "$2" 1 16 && nodes=$((10#$2)) ;;
		--workers) number "$1" "$2" 1 16 && workers=$((10#$2)) ;;
		--config) config=$2 ;;
		--pages) pages=$2 ;;
		--build-dir) build_dir=$2 ;;
		esac
		shift 2
		;;
	--no-build)
		build=no
		shift
		;;
	-h | --help)
		usage
		exit 0
		;;
	*) fail "Unknown option '$1'." "See deploy/local.sh --help." ;;
	esac
done

# --- the processes ---------------------------------------------------------------------

dir=          # private; holds the Redis socket and the logs
names=()      # of what was started, in order
declare -A pids=()
nap= # process id of what `watch` waits for

# start <name> <command…>: in the background, away from the terminal's signals, so that
# Ctrl-C reaches this script alone and it can stop things in order. Should the script be
# killed, the kernel tells its children to end (--pdeathsig).
start() {
	local name=$1
	shift
	setsid setpriv --pdeathsig TERM "$@" >"$dir/$name.log" 2>&1 </dev/null &
	names+=("$name")
	pids[$name]=$!
}

alive() {
	kill -0 "${pids[$1]}" 2>/dev/null
}

# Ask the named ones to end and wait until they have; none gets more than ten seconds.
stop() {
	local name code deadline=$((SECONDS + 10))
	for name in "$@"; do
		kill -TERM "${pids[$name]}" 2>/dev/null || true
	done
	for name in "$@"; do
		while alive "$name" && [ $SECONDS -lt $deadline ]; do
			sleep 0.05
		done
		if alive "$name"; then
			say "  $name did not end within 10 s; killing it. Its last lines:"
			last_lines "$name"
			kill -KILL "${pids[$name]}" 2>/dev/null || true
		fi
		code=0
		wait "${pids[$name]}" 2>/dev/null || code=$?
		case $name:$code in
		*:0 | haproxy:143 | *:137) ;;
		*)
			say "  $name ended$(how "$code"). Its last lines:"
			last_lines "$name"
			;;
		esac
		unset "pids[$name]"
	done
}

# Whatever ends this script ends everything it started: first the way in, then the nodes,
# which say good-bye to their clients and to Redis, then Redis.
stop_all() {
	local code=$? name some=()
	trap '' INT TERM HUP
	trap - EXIT
	[ -z "$nap" ] || kill "$nap" 2>/dev/null || true
	if [ ${#pids[@]} -gt 0 ]; then
		say "" "Stopping …"
		[ -z "${pids[haproxy]-}" ] || stop haproxy
		for name in "${names[@]}"; do
			case $name in
			node*) [ -z "${pids[$name]-}" ] || some+=("$name") ;;
			esac
		done
		[ ${#some[@]} -eq 0 ] || stop "${some[@]}"
		[ -z "${pids[redis]-}" ] || stop redis
		say "Everything has stopped."
	fi
	[ -z "$dir" ] || rm -rf "$dir"
	exit "$code"
}

last_lines() {
	tail -n 15 "$dir/$1.log" | sed "s/^/    $1: /"
}

# --- waiting ---------------------------------------------------------------------------

# wait_until <name> <what for> <command…>: ten seconds at most, and no longer than it lives.
wait_until() {
	local name=$1 what=$2 deadline=$((SECONDS + 10))
	shift 2
	until "$@" >/dev/null 2>&1; do
		if ! alive "$name"; then
			last_lines "$name" >&2
			fail "$name ended before $what; above are its last lines."
		fi
		if [ $SECONDS -ge $deadline ]; then
			last_lines "$name" >&2
			fail "10 s went by, but not yet: $what; above are the last lines of $name."
		fi
		sleep 0.1
	done
}

http_ok() { # <port> <path>: does it answer 200?
	local status
	exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
	printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$2" "$1" >&3
	read -r -t 2 _ status _ <&3 || status=
	exec 3>&-
	[ "$status" = 200 ]
}

redis_answers() {
	[ "$("$redis_cli" -s "$dir/redis.sock" ping)" = PONG ]
}

listening() { # does somebody listen on this port of the loopback?
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A free port below the range from which the kernel takes ports for outgoing connections.
taken=' '
free_port() {
	local p
	for _ in {1..200}; do
		p=$((10000 + RANDOM % 20000))
		if [[ $taken != *" $p "* ]] && ! listening $p; then
			taken+="$p "
			free=$p
			return
		fi
	done
	fail "No free port was found between 10000 and 29999."
}

# --- the cluster -----------------------------------------------------------------------

check_port() {
	local who=
	listening "$port" || return 0
	have ss && who=$(ss -Hltnp "sport = :$port" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1 (process \2)/p' | head -n 1)
	fail "Port $port is taken${who:+ by $who}." \
		"Choose another one: deploy/local.sh --port $((port < 65535 ? port + 1 : 3000))"
}

build_program() {
	local log=$root/build/local.log # stays, for who wants to know what went wrong
	mkdir -p "$root/build"
	say "Looking for what is needed"
	"$root/deploy/install.sh" build run
	say "Building"
	# The preset gives the options; the directory may be another.
	(cd "$root" && step "$log" "configure $build_dir" cmake --preset release -B "$build_dir")
	step "$log" "compile (the first time takes a minute)" cmake --build "$build_dir"
}

find_program() {
	program=$build_dir/gateway/gatehouse
	if [ ! -x "$program" ]; then
		fail "There is no program $program." \
			"Run deploy/local.sh without --no-build, or name the directory with --build-dir."
	fi
}

# What the nodes and HAProxy would find out later, and say less plainly.
check_files() {
	[ -z "$pages" ] || "$root/deploy/pages.sh" "$pages" >"$dir/pages.cfg" || exit 1
	[ -z "$config" ] || "$program" --dev --config "$config" --check-config >"$dir/check.log" 2>&1 || {
		cat "$dir/check.log" >&2
		fail "The configuration has mistakes."
	}
}

find_redis() {
	redis=$(command -v redis-server || command -v valkey-server) ||
		fail "redis-server is not installed." "Run deploy/install.sh run, or this without --no-build."
	redis_cli=$(command -v redis-cli || command -v valkey-cli) || fail "redis-cli is not installed."
	have haproxy || fail "haproxy is not installed." \
		"Run deploy/install.sh run, or this without --no-build."
}

start_redis() {
	# It forgets everything at the end, so it writes nothing to the disk.
	start redis "$redis" --port 0 --unixsocket "$dir/redis.sock" --unixsocketperm 700 \
		--save '' --appendonly no --dir "$dir" --daemonize no
	wait_until redis "Redis answers" redis_answers
	say "  redis    unix://$dir/redis.sock"
}

node_at=() # ports, by number of the node
node_ops=()

start_nodes() {
	local i at ops more=()
	[ -z "$config" ] || more+=(--config "$config")
	[ -z "$pages" ] || more+=(--no-page)
	for ((i = 1; i <= nodes; i++)); do
		free_port && at=$free
		free_port && ops=$free
		start "node$i" "$program" --dev --listen "127.0.0.1:$at" --ops-listen "127.0.0.1:$ops" \
			--redis "unix://$dir/redis.sock" --workers "$workers" "${more[@]}"
		node_at[i]=$at
		node_ops[i]=$ops
	done
	for ((i = 1; i <= nodes; i++)); do
		ops=${node_ops[i]}
		wait_until "node$i" "node$i is ready" http_ok "$ops" /readyz
		say "  node$i    http://127.0.0.1:${node_at[i]}   process ${pids[node$i]}   http://127.0.0.1:$ops/metrics"
	done
}

start_haproxy() {
	local i variables=(CLUSTER_BIND="127.0.0.1:$port") files=(-f "$dir/haproxy.cfg")
	if [ -n "$pages" ]; then
		variables+=(CLUSTER_PAGES=yes)
		files+=(-f "$dir/pages.cfg")
	fi
	{
		grep -v '^	server ' "$root/deploy/haproxy.cfg"
		for ((i = 1; i <= nodes; i++)); do
			printf '\tserver node%d "$%s" port "$%s"\n' "$i" "{CLUSTER_NODE_$i}" "{CLUSTER_OPS_$i}"
			variables+=("CLUSTER_NODE_$i=127.0.0.1:${node_at[i]}" "CLUSTER_OPS_$i=${node_ops[i]}")
		done
	} >"$dir/haproxy.cfg"
	start haproxy env "${variables[@]}" haproxy -db "${files[@]}"
	wait_until haproxy "the page answers through HAProxy" http_ok "$port" /
	say "  haproxy  http://127.0.0.1:$port"
}

# Until a signal, or until what remains is of no use.
watch() {
	local name code left
	exec 4>&2 2>/dev/null # bash has words of its own for children that are killed
	while :; do
		left=0
		for name in "${names[@]}"; do
			[ -n "${pids[$name]-}" ] || continue
			if alive "$name"; then
				case $name in node*) left=$((left + 1)) ;; esac
				continue
			fi
			code=0
			wait "${pids[$name]}" || code=$?
			unset "pids[$name]"
			say "" "$name ended$(how "$code"). Its last lines:"
			last_lines "$name"
			case $name in node*) ;; *) fail "Without $name there is no cluster." 2>&4 ;; esac
		done
		[ $left -gt 0 ] || fail "No node is left." 2>&4
		if [ "$left" -lt "$nodes" ] && [ "$left" != "${told-}" ]; then
			told=$left
			say "Nodes that go on: $left."
		fi
		# Not `wait -n`: it does not see a child that ended while another was told of.
		sleep 1 &
		nap=$!
		wait "$nap" || true
		nap=
	done
}

how() {
	if [ "$1" -gt 128 ]; then
		printf ', killed by signal %d' $(($1 - 128))
	else
		printf ' with exit code %d' "$1"
	fi
}

trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
check_port
dir=$(mktemp -d /tmp/gatehouse-local.XXXXXX)
[ $build = no ] || build_program
find_program
check_files
find_redis
say "Starting a cluster of $nodes"
start_redis
start_nodes
start_haproxy
if [ -n "$pages" ]; then page="The pages:"; else page="The chat page:"; fi
say "" "$page  http://127.0.0.1:$port" \
	"" \
	"Open it in two windows: they may be on different nodes. Kill a node (kill -9 of a process" \
	"above) and see its clients come back on another." \
	"Logs: $dir/*.log     Ctrl-C stops everything."
watch
