#!/usr/bin/env bash
# Runs every fuzz target on its corpus: tests/fuzz/run.sh [SECONDS], 60 each by default.
# New inputs are kept in build/fuzz/corpus/<name>, findings in build/fuzz/findings; exits
# with 1 if there is one. The committed corpus is only read.
#
# To commit what a long run has learned, let libFuzzer choose the inputs that add coverage:
#   build/fuzz/tests/fuzz/fuzz_<name> -set_cover_merge=1 -max_len=256 \
#     tests/fuzz/corpus/<name> build/fuzz/corpus/<name>
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-60}
if ! [[ $seconds =~ ^[1-9][0-9]*$ ]]; then
	echo "usage: $0 [SECONDS], a whole number above 0, not '$seconds'" >&2
	exit 2
fi

run_one() {
	local seconds=$1 binary=$2 name log
	local -a options
	name=$(basename "$binary")
	name=${name#fuzz_}
	log=build/fuzz/$name.log
	options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048
		-print_final_stats=1 -artifact_prefix="build/fuzz/findings/$name-")
	if [ -f "tests/fuzz/$name.dict" ]; then
		options+=(-dict="tests/fuzz/$name.dict")
	fi
	mkdir -p "build/fuzz/corpus/$name"
	if "$binary" "${options[@]}" "build/fuzz/corpus/$name" \
		"tests/fuzz/corpus/$name" >"$log" 2>&1; then
		local runs cov
		runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
		cov=$(grep -o 'cov: [0-9]*' "$log" | tail -1)
		echo "fuzz $name: no finding, $runs runs in $seconds s, $cov"
	else
		echo "fuzz $name: FINDING, see $log:"
		tail -n 40 "$log"
		return 1
	fi
}
export -f run_one

echo "building the fuzz targets"
mkdir -p build/fuzz/findings
{
	cmake --preset fuzz
	cmake --build build/fuzz --target fuzzers
} >build/fuzz/build.log 2>&1 || {
	cat build/fuzz/build.log
	exit 1
}

# Two at a time.
find build/fuzz/tests/fuzz -maxdepth 1 -name 'fuzz_*' -type f -executable | sort |
	xargs -r -P 2 -I '{}' bash -c 'run_one "$@"' _ "$seconds" '{}' ||
	exit 1
