#!/bin/bash
# Everything that is tested, from a fresh clone: see usage below.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 2
# shellcheck source=deploy/lib.sh
. "$root/deploy/lib.sh"

usage() {
	cat <<'END'
usage: tests/run.sh [--quick | --full | --ci] [--fuzz SECONDS]

Installs what is missing, builds with the address and undefined-behaviour sanitizers, runs
every test (the linters are among them) and the fuzzers, and compiles everything with clang
and as a release without a warning. It can be run again; only what changed is built.

  --quick         only the unit tests and those of the adapters
  --full, --ci    60 s for each fuzzer (otherwise 10 s; CI=true in the environment does this too)
  --fuzz SECONDS  so many seconds for each fuzzer; 0: none

The last line is `N passed, N failed`; the exit code is 0 only if nothing failed.
END
}

quick=no
fuzz_seconds=10
[ "${CI-}" != true ] || fuzz_seconds=60

while [ $# -gt 0 ]; do
	case $1 in
	--quick) quick=yes ;;
	--full | --ci) fuzz_seconds=60 ;;
	--fuzz)
		[[ ${2-} =~ ^[0-9]{1,5}$ ]] || fail "--fuzz takes a number of seconds, not '${2-}'."
		fuzz_seconds=$2
		shift
		;;
	-h | --help)
		usage
		exit 0
		;;
	*) fail "Unknown option '$1'." "See tests/run.sh --help." ;;
	esac
	shift
done

passed=0
failed=0
summary=()
logs=$root/build/logs
mkdir -p "$logs"

# One line of the summary: <passed> <failed> <seconds> <what>
tell() {
	passed=$((passed + $1))
	failed=$((failed + $2))
	summary+=("$(printf '%6d passed %6d failed %6d s   %s' "$1" "$2" "$3" "$4")")
}

finish() {
	say "" "Summary"
	printf '%s\n' "${summary[@]}"
	printf '       in %d min %d s\n\n' $((SECONDS / 60)) $((SECONDS % 60))
	say "$passed passed, $failed failed"
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
	exit
}

# A step that is one pass or one failure. Returns its exit code.
check() { # <log> <what> <command…>
	local began=$SECONDS code=0
	step "$logs/$1.log" "${@:2}" || code=$?
	if [ $code -eq 0 ]; then
		tell 1 0 $((SECONDS - began)) "$2"
	else
		tell 0 1 $((SECONDS - began)) "$2"
	fi
	return $code
}

# A step without which nothing else makes sense; it proves nothing by itself.
need() { # <log> <what> <command…>
	step "$logs/$1.log" "${@:2}" && return
	tell 0 1 0 "$2"
	finish
}

# shellcheck disable=SC2317 # called through need
npm_packages() {
	# What is there is what the lock file says if npm left this copy of it.
	if ! cmp -s tests/package-lock.json tests/node_modules/.lock-copy; then
		(cd tests && npm ci --ignore-scripts) && cp tests/package-lock.json tests/node_modules/.lock-copy
	fi
}

# shellcheck disable=SC2317 # called through need and check
build() { # <preset> [target…]
	cmake --preset "$1" && cmake --build "build/$1" ${2+--target "${@:2}"}
}

# ctest's report as JUnit has numbers that need no guessing; what ctest prints is shown but
# for its closing line, so that there is one such line, at the end of this script.
run_ctest() {
	local began=$SECONDS report=$logs/ctest.xml code=0 numbers
	rm -f "$report"
	ctest --test-dir build/asan --output-on-failure -j "$(nproc)" --output-junit "$report" "$@" </dev/null |
		tee "$logs/ctest.log" | grep -vE '^[0-9]+% tests passed|^ +Start +[0-9]+:'
	code=${PIPESTATUS[0]}
	if ! numbers=$(counts "$report"); then
		tell 0 1 $((SECONDS - began)) "ctest (it left no report, exit code $code)"
		return
	fi
	# shellcheck disable=SC2086 # two numbers
	tell $numbers $((SECONDS - began)) "ctest (build/logs/ctest.log)"
	if [ "$code" -ne 0 ] && [ "${numbers#* }" -eq 0 ]; then
		tell 0 1 0 "ctest's exit code is $code"
	fi
}

# <passed> <failed>, of a JUnit report. A test that did not run did not pass.
counts() {
	local line tests failures not_run
	line=$(grep -m 1 -A 8 '<testsuite ' "$1" | tr '\n' ' ') || return 1
	tests=$(number tests "$line") || return 1
	failures=$(number failures "$line") || return 1
	not_run=$(($(number disabled "$line") + $(number skipped "$line")))
	printf '%d %d\n' $((tests - failures - not_run)) $((failures + not_run))
}

number() { # <attribute> <text>
	[[ $2 =~ [[:space:]]$1=\"([0-9]+)\" ]] && printf '%s\n' "${BASH_REMATCH[1]}"
}

run_fuzzers() {
	local began=$SECONDS log=$logs/fuzz.log ok bad code
	tests/fuzz/run.sh "$fuzz_seconds" </dev/null 2>&1 | tee "$log" | sed 's/^/  /'
	code=${PIPESTATUS[0]}
	ok=$(grep -c '^fuzz .*: no finding' "$log")
	bad=$(grep -c '^fuzz .*: FINDING' "$log")
	if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1 # it broke in another way
	fi
	tell "$ok" "$bad" $((SECONDS - began)) "fuzzers, $fuzz_seconds s each"
}

say "Looking for what is needed"
deploy/install.sh build run test docker || fail "Not everything could be installed."
need npm "npm packages of the tests" npm_packages

say "" "Building"
need build-asan "gcc, address and undefined sanitizers" build asan

say "" "Testing"
if [ $quick = yes ]; then
	run_ctest -L '^(unit|adapter|redis)$'
	finish
fi
run_ctest

say "" "Compiling otherwise"
check build-clang "clang, everything" build clang
check build-release "gcc, release" build release

if [ "$fuzz_seconds" -gt 0 ]; then
	say "" "Fuzzing, $fuzz_seconds s each"
	run_fuzzers
fi
finish
