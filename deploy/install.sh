#!/bin/bash
# Install what is missing on Debian 12 or 13, and only that: commands, pkg-config modules
# and headers are looked for, not packages, since they may come from elsewhere.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/lib.sh
. "$here/lib.sh"

usage() {
	cat <<'END'
usage: deploy/install.sh [--check] GROUP…

Installs what is missing of the groups, with apt, as root or through sudo.

  build    compiler, CMake, libraries; npm, which fetches the client for browsers
  run      Redis and HAProxy, for deploy/local.sh
  test     what tests/run.sh needs beyond those: clang and its tools, linters, Chromium, nginx
  bench    what tests/bench/run.sh compares with: nchan, nats-server; gnuplot, perf
  docker   engine and Compose for docker-compose.yml, and what deploy/base-image.sh needs

  --check  install nothing; list what is missing and exit with 1 if something is

No service is left running or enabled that this script installed; one that was there
before is not touched.
END
}

# What is missing: for the person, and as packages ("a|b": the first that apt knows).
missing=()
packages=()

lacks() {
	missing+=("$1")
	shift
	packages+=("$@")
}

need_command() { # <command|alternative> <package…>
	local c
	for c in ${1//|/ }; do
		have "$c" && return
	done
	lacks "$1" "${@:2}"
}

need_module() { # <pkg-config module> <package…>
	if ! have pkg-config || ! pkg-config --exists "$1"; then
		lacks "$1 (pkg-config)" "${@:2}"
	fi
}

has_header() {
	if have cc; then
		printf '#include <%s>\n' "$1" | cc -E - >/dev/null 2>&1
	else
		[ -e "/usr/include/$1" ] || [ -e "/usr/local/include/$1" ]
	fi
}

need_header() { # <header> <package…>
	has_header "$1" || lacks "<$1>" "${@:2}"
}

# libwebsockets loads its libuv part when it runs, from the directory it lies in itself.
need_lws_uv() {
	local dir
	dir=$(pkg-config --variable=libdir libwebsockets 2>/dev/null) || dir=/usr/lib
	[ -e "$dir/libwebsockets-evlib_uv.so" ] ||
		lacks "libwebsockets' libuv part" libwebsockets-evlib-uv
}

node_major() {
	node --version 2>/dev/null | sed -n 's/^v\([0-9]*\).*/\1/p'
}

need_node() {
	if have node; then
		[ "$(node_major)" -ge 18 ] || fail "Node.js 18 or newer is needed; $(command -v node) is $(node --version)." \
			"Remove it, so that Debian's is used, or install a newer one."
	else
		lacks node nodejs ca-certificates
	fi
	need_command npm npm ca-certificates
}

# The libraries of the sanitizers and of libFuzzer come apart from clang.
need_clang_runtime() {
	local dir
	dir=$(mktemp -d)
	echo 'int LLVMFuzzerTestOneInput(const void *p, unsigned long n) { return !p && n; }' >"$dir/t.c"
	clang -fsanitize=fuzzer,address,undefined -o "$dir/t" "$dir/t.c" >/dev/null 2>&1 ||
		lacks "clang -fsanitize=fuzzer,address,undefined" libclang-rt-dev
	rm -rf "$dir"
}

# A worker in Python, as docs/queues.md shows one.
need_python_redis() {
	/usr/bin/python3 -c 'import redis' >/dev/null 2>&1 || lacks "Python's redis" python3 python3-redis
}

need_build() {
	need_command cc gcc libc6-dev
	need_command gcc gcc libc6-dev
	need_command cmake cmake
	need_command ninja ninja-build
	need_command pkg-config pkg-config
	need_module libuv libuv1-dev
	need_module libwebsockets libwebsockets-dev
	need_lws_uv
	need_module openssl libssl-dev
	need_module hiredis libhiredis-dev
	need_module yaml-0.1 libyaml-dev
	need_module zlib zlib1g-dev
	need_module libjwt libjwt-dev
	need_header msgpack.h 'libmsgpack-c-dev|libmsgpack-dev'
	need_node
}

need_run() {
	need_command 'redis-server|valkey-server' redis-server
	need_command haproxy haproxy
}

need_test() {
	need_command clang clang
	need_clang_runtime
	need_command clang-format clang-format
	need_command clang-tidy clang-tidy
	need_command run-clang-tidy clang-tidy
	need_command cppcheck cppcheck
	need_command codespell codespell
	need_command shellcheck shellcheck
	need_command nm binutils
	need_command valgrind valgrind
	need_command nginx nginx
	need_command systemd-analyze systemd
	need_command 'chromium|chromium-browser|google-chrome' chromium fonts-dejavu-core
	need_python_redis
}

has_compose() {
	have docker-compose || docker compose version >/dev/null 2>&1
}

# A module of nginx has no command; it lies where Debian has nginx's modules.
need_nchan() {
	[ -e /usr/lib/nginx/modules/ngx_nchan_module.so ] ||
		lacks "nchan, a module of nginx" nginx libnginx-mod-nchan
}

need_bench() {
	need_command nginx nginx
	need_nchan
	need_command nats-server nats-server
	need_command gnuplot 'gnuplot-nox|gnuplot'
	need_command perf linux-perf
	need_command taskset util-linux
}

need_docker() {
	need_command dockerd docker.io
	need_command docker 'docker-cli|docker.io'
	has_compose || lacks "docker compose" docker-compose
	need_command mmdebstrap mmdebstrap
	# The engine's network, and what tests look at it with.
	need_command iptables iptables
	need_command ip iproute2
}

# --- apt -------------------------------------------------------------------------------

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif [ -t 0 ]; then
		sudo "$@"
	else
		sudo -n "$@"
	fi
}

apt_get() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"
}

known() { # does apt have a package of this name to install?
	# Not by a pipe into `grep -q`, which would end apt-cache early and so make it fail.
	[[ $(LC_ALL=C apt-cache policy "$1" 2>/dev/null) =~ Candidate:\ [^\(] ]]
}

first_known() {
	local p
	for p in ${1//|/ }; do
		if known "$p"; then
			printf '%s\n' "$p"
			return
		fi
	done
	printf '%s\n' "${1%%|*}" # apt-get will say that it does not know it
}

# Debian's redis-server, haproxy, nginx and docker.io start a service when they are
# installed. A policy-rc.d that denies it is the documented way to prevent that; ours lives
# only while apt runs, and one that is there already is respected.
policy=/usr/sbin/policy-rc.d
policy_is_ours=no

forbid_services() {
	if [ ! -e $policy ]; then
		policy_is_ours=yes
		printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
		as_root chmod 755 $policy
	fi
}

allow_services() {
	if [ $policy_is_ours = yes ]; then
		policy_is_ours=no
		as_root rm -f $policy
	fi
}

disable_service() {
	as_root systemctl disable --quiet "$@" || true
	say "  What came with the package and would start with the machine is disabled: $*"
}

# Not started is not enough where systemd runs: they would start with the machine.
disable_services() {
	local p
	[ -d /run/systemd/system ] || return 0
	for p in "$@"; do
		case $p in
		redis-server | haproxy | nginx | nats-server) disable_service "$p" ;;
		docker.io) disable_service docker.service docker.socket containerd.service ;;
		esac
	done
}

install_missing() {
	local p wanted=()
	have apt-get || fail "This machine has no apt-get." \
		"Debian 12 and 13 are what this script knows; elsewhere, install by hand: ${missing[*]}"
	if [ "$(id -u)" -ne 0 ] && ! have sudo; then
		fail "To install what is missing, run this as root or install sudo." \
			"Missing: ${missing[*]}"
	fi
	log=$(mktemp /tmp/gatehouse-install.XXXXXX)
	trap 'allow_services; rm -f "$log"' EXIT
	trap 'exit 130' INT TERM
	if [ "$(id -u)" -ne 0 ] && [ -t 0 ]; then
		sudo -v # asks for the password here, where one can see it
	fi
	step "$log" "apt-get update" apt_get update || fail "apt-get update failed."
	for p in "${packages[@]}"; do
		wanted+=("$(first_known "$p")")
	done
	mapfile -t wanted < <(printf '%s\n' "${wanted[@]}" | sort -u)
	say "  packages: ${wanted[*]}"
	forbid_services
	step "$log" "apt-get install (may take minutes)" apt_get install --no-install-recommends "${wanted[@]}" ||
		fail "apt-get install failed."
	allow_services
	disable_services "${wanted[@]}"
}

look() {
	local group
	missing=()
	packages=()
	hash -r
	for group in "$@"; do
		"need_$group"
	done
}

check=no
groups=()
for argument in "$@"; do
	case $argument in
	build | run | test | bench | docker) groups+=("$argument") ;;
	--check) check=yes ;;
	-h | --help)
		usage
		exit 0
		;;
	*) fail "'$argument' is neither a group (build, run, test, bench, docker) nor an option." "See deploy/install.sh --help." ;;
	esac
done
[ ${#groups[@]} -gt 0 ] || fail "No group was given: build, run, test, bench or docker." "See deploy/install.sh --help."

look "${groups[@]}"
if [ ${#missing[@]} -eq 0 ]; then
	say "  Nothing is missing (${groups[*]})."
	exit 0
fi
printf '  missing: %s\n' "${missing[@]}"
[ $check = no ] || exit 1
install_missing
look "${groups[@]}"
[ ${#missing[@]} -eq 0 ] || fail "Still missing after the installation:" "${missing[@]}"
