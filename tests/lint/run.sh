#!/bin/bash
# What can be checked by reading the sources: tests/lint/run.sh CHECK… | all
# Each check prints what it finds, one finding a line, and the script fails if there is one.
set -uo pipefail
shopt -s lastpipe # so that `… | found` counts in this shell
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2

usage() {
	cat <<'END'
usage: tests/lint/run.sh CHECK…    (or: all)

  format      C files are as clang-format 14 would write them
  tidy        clang-tidy finds nothing (needs a build directory, see below)
  cppcheck    cppcheck finds nothing
  spelling    codespell finds nothing
  shell       shellcheck finds nothing in the scripts
  layers      gateway → adapter → proto and bench → proto, one way; libraries only where they are
              wrapped
  pure        proto/ has no file, clock, log or writable global
  headers     every header compiles alone
  words       no notes to ourselves, no registry's address in the lock file
  versions    what is pinned in two places is pinned alike

BUILD_DIR in the environment: where compile_commands.json is (default build/asan).
END
}

build=${BUILD_DIR:-build/asan}
findings=0

found() { # one finding a line on stdin; $1: what to say first
	local text
	text=$(cat)
	if [ -n "$text" ]; then
		printf '%s\n%s\n' "$1" "$text"
		findings=$((findings + 1))
	fi
}

# Files of the project, committed or about to be: sources <pattern of git ls-files…>
sources() {
	local list
	if list=$(git ls-files -co --exclude-standard -- "$@" 2>/dev/null) && [ -n "$list" ]; then
		# A file may be deleted and not yet committed so.
		while IFS= read -r f; do
			[ ! -f "$f" ] || printf '%s\n' "$f"
		done <<<"$list"
	else
		# Not a git checkout: a tarball.
		local f p
		find . \( -path ./build -o -name node_modules -o -name .git \) -prune -o -type f -print |
			sed 's|^\./||' | sort | while IFS= read -r f; do
			for p in "$@"; do
				# shellcheck disable=SC2053 # a pattern, whose * matches / as in git
				if [[ $f == $p ]]; then
					printf '%s\n' "$f"
					break
				fi
			done
		done
	fi
}

has_tool() {
	command -v "$1" >/dev/null && return
	echo "$1 is not installed: deploy/install.sh test" | found "lint:"
	return 1
}

check_format() {
	local version
	has_tool clang-format || return 0
	version=$(clang-format --version | sed 's/.*version \([0-9]*\).*/\1/')
	if [ "$version" != 14 ]; then
		# Versions differ in what they write; Debian 12's is the one that counts.
		echo "format: not checked: this is clang-format $version, the rules are for 14"
		return
	fi
	sources '*.[ch]' | xargs -r clang-format --dry-run -Werror 2>&1 |
		found "format: run clang-format -i"
}

check_tidy() {
	local files log
	has_tool run-clang-tidy || return 0
	if [ ! -f "$build/compile_commands.json" ]; then
		echo "$build/compile_commands.json is not there: cmake --preset asan" | found "tidy:"
		return
	fi
	# run-clang-tidy takes regular expressions and checks what the build knows.
	mapfile -t files < <(sources '*.c' | sed "s|.*|^$PWD/&\$|; s|\.c|\\\\.c|")
	log=$(mktemp)
	if ! run-clang-tidy -quiet -j 2 -p "$build" "${files[@]}" >"$log" 2>&1; then
		sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E ' (warning|error):|^Error' | sort -u |
			sed "s|$PWD/||" | found "tidy:"
	fi
	grep -q 'clang-tidy' "$log" || echo "it checked no file at all" | found "tidy:"
	rm -f "$log"
}

check_cppcheck() {
	has_tool cppcheck || return 0
	# Libraries' headers are not followed: the macros that hide code from cppcheck are ours.
	sources '*.c' | cppcheck --quiet --std=c11 --language=c -I. -D_GNU_SOURCE \
		-DGATEHOUSE_VERSION='"0"' --enable=warning,performance,portability --inline-suppr \
		--suppress=missingInclude --suppress=missingIncludeSystem --suppress=unmatchedSuppression \
		--error-exitcode=1 -j 2 --file-list=- 2>&1 | found "cppcheck:"
}

check_spelling() {
	has_tool codespell || return 0
	sources '*.c' '*.h' '*.md' '*.sh' '*.cmake' '*CMakeLists.txt' '*.cfg' '*.conf' '*.service' '*.yml' '*.yaml' '*.html' \
		'*.css' '*.js' '*.mjs' '*.lua' | grep -v '^tests/fuzz/corpus/' |
		xargs -r codespell --ignore-words tests/lint/codespell-ignore.txt 2>&1 | found "spelling:"
}

check_shell() {
	has_tool shellcheck || return 0
	sources '*.sh' '.ci/run' | xargs -r shellcheck -x 2>&1 | found "shell:"
}

# no_include <what it says> <regex of includes> <file…>
no_include() {
	local what=$1 includes=$2
	shift 2
	[ $# -gt 0 ] || return 0
	grep -nHE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($includes)" "$@" | found "layers: $what"
}

check_layers() {
	local proto adapter bench gateway rest
	mapfile -t proto < <(sources 'proto/*.[ch]')
	mapfile -t adapter < <(sources 'adapter/*.[ch]')
	mapfile -t bench < <(sources 'bench/*.[ch]')
	mapfile -t gateway < <(sources 'gateway/*.[ch]')
	no_include "proto/ knows nothing of adapter/ and gateway/" '(\.\./)*(adapter|bench|gateway)/' "${proto[@]}"
	no_include "adapter/ knows nothing of gateway/" '(\.\./)*(bench|gateway)/' "${adapter[@]}"
	no_include "bench/ stands on proto/ alone" '(\.\./)*(adapter|gateway)/|uv\.h' "${bench[@]}"
	mapfile -t rest < <(printf '%s\n' "${gateway[@]}" | grep -v '^gateway/main\.c$')
	no_include "bench/ is known to gateway/main.c alone" '(\.\./)*bench/' "${rest[@]}"
	no_include "nothing includes tests" '(\.\./)*tests/' "${proto[@]}" "${adapter[@]}" "${bench[@]}" "${gateway[@]}"
	mapfile -t rest < <(printf '%s\n' "${proto[@]}" "${adapter[@]}" "${bench[@]}" "${gateway[@]}" | grep -v '^gateway/lws_[^/]*$')
	# lws_internal.h is what those files share.
	no_include "libwebsockets is wrapped by gateway/lws_*" 'libwebsockets|gateway/lws_internal' "${rest[@]}"
	mapfile -t rest < <(printf '%s\n' "${proto[@]}" "${adapter[@]}" "${bench[@]}" "${gateway[@]}" | grep -v '^adapter/redis/')
	no_include "hiredis is wrapped by adapter/redis/" 'hiredis/' "${rest[@]}"
	no_include "gateway/ knows the adapter by adapter.h, not Redis" 'adapter/redis/' "${gateway[@]}"
}

check_pure() {
	local dir f files
	mapfile -t files < <(sources 'proto/*.[ch]')
	no_include "proto/ has no file descriptor, clock, thread or loop" \
		'(time|unistd|fcntl|signal|poll|pthread|threads|uv|syslog|errno|locale|sys/[a-z]*|netinet/[a-z]*|arpa/[a-z]*)\.h' \
		"${files[@]}"
	# snprintf is fine. mem.c has last words: it ends the program when memory is out.
	printf '%s\n' "${files[@]}" | grep -v '^proto/mem\.c$' |
		xargs grep -nHwE '(v?f?printf|f?puts|f?putc|putchar|fopen|fwrite|getenv|time|clock|s?rand|s?random|setlocale) ?\(|FILE|std(in|out|err)' |
		found "pure:"
	# Compiled without the sanitizers, which add globals of their own, and not position
	# independent, which would make constants with pointers look writable.
	dir=$(mktemp -d)
	for f in "${files[@]}"; do
		case $f in
		*.c)
			if cc -std=c17 -D_GNU_SOURCE -fno-pie -O1 -I. -c "$f" -o "$dir/o" 2>"$dir/errors"; then
				nm "$dir/o" | awk -v f="$f" '$2 ~ /^[bBdDCsSgG]$/ {print f ": writable global " $3}'
			else
				cat "$dir/errors"
			fi
			;;
		esac
	done | found "pure: proto/ has no state of its own"
	rm -rf "$dir"
}

check_headers() {
	local h flags
	read -r -a flags < <(pkg-config --cflags libwebsockets openssl hiredis libuv yaml-0.1 libjwt | tr '\n' ' ')
	while IFS= read -r h; do
		# Included from an empty file: a header as main file would warn of other things.
		printf '#include "%s"\n#include "%s"\ntypedef int not_empty;\n' "$h" "$h" |
			cc -std=c17 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror -Wno-unused -fsyntax-only \
				-I. -Itests "${flags[@]}" -x c - 2>&1 | sed "s|^<stdin>|$h|"
	done < <(sources 'proto/*.h' 'adapter/*.h' 'bench/*.h' 'gateway/*.h' 'tests/*.h') | found "headers:"
}

check_words() {
	sources '*' | grep -vE '^tests/lint/|^tests/fuzz/corpus/|^LICENSE$' |
		xargs -r grep -nHIwE 'TO''DO|FIX''ME|X''XX|HA''CK' | found "words: do it, or write an issue"
	grep -nHE '"resolved"|https?://registry\.' tests/package-lock.json tests/.npmrc |
		found "words: any registry serves (omit-lockfile-registry-resolved)"
}

check_versions() {
	local a b
	a=$(sed -n 's/^set(GATEHOUSE_CLIENT_VERSION \(.*\))/\1/p' cmake/client_bundle.cmake)
	b=$(sed -n 's/.*"socket.io-client": "\([^"]*\)".*/\1/p' tests/package.json | head -n 1)
	if [ "$a" != "$b" ] || [ -z "$a" ]; then
		echo "cmake/client_bundle.cmake has socket.io-client '$a', tests/package.json '$b'" | found "versions:"
	fi
}

checks=(format tidy cppcheck spelling shell layers pure headers words versions)
wanted=("$@")
[ $# -gt 0 ] || wanted=(--help)
[ "${wanted[0]}" != all ] || wanted=("${checks[@]}")
for check in "${wanted[@]}"; do
	case " ${checks[*]} " in
	*" $check "*)
		before=$findings
		"check_$check"
		echo "$check: $((findings - before)) findings"
		;;
	*)
		usage
		[ "$check" = --help ] && exit 0
		exit 2
		;;
	esac
done
[ "$findings" -eq 0 ]
