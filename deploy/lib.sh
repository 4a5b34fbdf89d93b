# shellcheck shell=bash
# What the scripts share: they say what they do, how long it took, and what went wrong.
# To be sourced.

# Where Debian has daemons, and ordinary users do not look.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# One line for each argument.
say() {
	printf "%s\n" "$@"
}

# What went wrong, and what would be right: one argument a line.
fail() {
	{
		printf '\nerror: %s\n' "$1"
		shift
		[ $# -eq 0 ] || printf '       %s\n' "$@"
	} >&2
	exit 1
}

# step <log> <what it is> <command…>: run a command with its output in a file; show one line
# with the time it took, or, when it fails, the end of its output. Returns its exit code.
step() {
	local log=$1 what=$2 began=$SECONDS code=0
	shift 2
	printf '  %-58s ' "$what"
	"$@" >"$log" 2>&1 </dev/null || code=$?
	if [ "$code" -eq 0 ]; then
		printf 'done, %d s\n' $((SECONDS - began))
	else
		printf 'FAILED after %d s\n' $((SECONDS - began))
		{
			printf '\n--- the end of its output (all of it: %s)\n' "$log"
			tail -n 40 "$log"
			printf -- '---\n'
		} >&2
	fi
	return "$code"
}

have() {
	command -v "$1" >/dev/null 2>&1
}
