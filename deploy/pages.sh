#!/bin/bash
# A directory of pages as a backend of HAProxy, which answers with them itself: nothing else
# has to run. Prints what deploy/haproxy.cfg, with CLUSTER_PAGES in the environment, takes as
# a second configuration file:
#
#   deploy/pages.sh DIR >pages.cfg
#   CLUSTER_PAGES=yes haproxy -f deploy/haproxy.cfg -f pages.cfg
#
# For trying things out: HAProxy reads the files when it starts, and keeps them in memory.
set -euo pipefail
# shellcheck source=deploy/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -eq 1 ] || fail "usage: deploy/pages.sh DIR"
dir=$(cd "$1" 2>/dev/null && pwd) || fail "There is no directory '$1'."

type_of() { # <name>: what a browser is to take it for
	case $1 in
	*.html) echo 'text/html; charset=utf-8' ;;
	*.css) echo 'text/css; charset=utf-8' ;;
	*.js | *.mjs) echo 'text/javascript; charset=utf-8' ;;
	*.json) echo 'application/json' ;;
	*.svg) echo 'image/svg+xml' ;;
	*.png) echo 'image/png' ;;
	*.txt) echo 'text/plain; charset=utf-8' ;;
	*) return 1 ;;
	esac
}

largest=0
rules=()
rule() { # <path> <file> <type>
	rules+=("	http-request return status 200 content-type \"$3\" file \"$2\" hdr cache-control no-cache if { path $1 }")
}

# What has a meaning between quotes in HAProxy's configuration.
[[ $dir != *[\"\$\\]* ]] || fail "'$dir' has one of \" \$ \\ in its name."

for file in "$dir"/*; do
	[ -e "$file" ] || break
	name=${file##*/}
	[[ $name =~ ^[A-Za-z0-9._-]+$ ]] ||
		fail "'$name' has characters other than letters, digits and . _ - in its name."
	type=$(type_of "$name") ||
		fail "'$name' is no page: .html, .css, .js, .mjs, .json, .svg, .png and .txt are known."
	size=$(wc -c <"$file")
	[ "$size" -le "$largest" ] || largest=$size
	rule "/$name" "$file" "$type"
	[ "$name" != index.html ] || rule / "$file" "$type"
done
[ ${#rules[@]} -gt 0 ] || fail "There is nothing in '$dir'."
[ "$largest" -le 262144 ] || fail "A file in '$dir' has more than 256 KiB."

# An answer has to fit into a buffer, of which each connection has two or so.
cat <<END_OF_FILE
global
	tune.bufsize $((largest > 8192 ? largest + 8192 : 16384))
backend pages
	mode http
	http-request return status 405 content-type text/plain string "GET or HEAD, please." unless METH_GET
$(printf '%s\n' "${rules[@]}")
	http-request return status 404 content-type text/plain string "There is no such page."
END_OF_FILE
