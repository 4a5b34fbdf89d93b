#!/bin/bash
# Does it build and work on Debian 13 too? Makes one below /tmp, and tries: see usage.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=deploy/lib.sh
. "$root/deploy/lib.sh"

usage() {
	cat <<'END'
usage: tests/debian13.sh [--suite NAME] [--keep DIR] [-- COMMAND…]

As root on Debian: makes a chroot of Debian 13 with mmdebstrap, copies the sources into it,
installs what deploy/install.sh finds missing there, builds the release and the sanitizer
presets and runs the unit, adapter, conformance and cluster tests. Takes a few minutes and
2 GB below /tmp, which are freed at the end. Not part of tests/run.sh.

  --suite NAME  another release, e.g. bookworm (default trixie)
  --keep DIR    make the chroot there and leave it; one that is there already is used again
  -- COMMAND…   run this in the copied sources instead of building and testing, for instance
                `--suite bookworm -- .ci/run`, to see what a fresh machine makes of it
END
}

suite=trixie
keep=
command=()
while [ $# -gt 0 ]; do
	case $1 in
	--suite | --keep)
		[ $# -ge 2 ] || fail "$1 needs a value."
		[ "$1" = --suite ] && suite=$2 || keep=$2
		shift 2
		;;
	--)
		shift
		command=("$@")
		break
		;;
	-h | --help)
		usage
		exit 0
		;;
	*) fail "Unknown option '$1'." "See tests/debian13.sh --help." ;;
	esac
done
[ "$(id -u)" -eq 0 ] || fail "This needs root, to make a chroot and enter it."
have mmdebstrap || fail "mmdebstrap is not installed." "apt-get install mmdebstrap"

# What happens in the chroot, in a mount and a process namespace of its own: whatever is
# mounted or started there goes away with it. Shared memory and ptys are what Chromium wants;
# the root is a mount of its own, and no mere chroot, since containers that are entered later
# find themselves at the root of the namespace.
# shellcheck disable=SC2317,SC2016 # called through step; expanded in the namespace
inside() {
	unshare --mount --pid --fork --kill-child bash -c '
		set -e
		mount --bind "$1" "$1"
		mount -t proc proc "$1/proc"
		mount -t tmpfs tmpfs "$1/dev/shm" || true
		mount --rbind /sys "$1/sys" && mount --make-rslave "$1/sys"
		cd "$1"
		shift
		pivot_root . mnt
		exec chroot . /usr/bin/env -i HOME=/root TERM=dumb LANG=C.UTF-8 \
			PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			sh -c "umount -l /mnt; cd /src && exec \"\$@\"" sh "$@"' bash "$chroot" "$@"
}

# shellcheck disable=SC2317 # called through step
copy_sources() {
	mkdir -p "$chroot/src"
	git -C "$root" ls-files -co --exclude-standard -z | tar -C "$root" --null -T - -cf - |
		tar -C "$chroot/src" -xf -
}

logs=$(mktemp -d /tmp/gatehouse-debian13.XXXXXX)
chroot=${keep:-$logs/root}
trap 'rm -rf "$logs"' EXIT
trap 'exit 130' INT TERM

say "Making a Debian of the suite $suite in $chroot"
if [ -e "$chroot/etc/debian_version" ]; then
	say "  It is there already."
else
	step "$logs/chroot.log" "mmdebstrap" mmdebstrap --variant=apt "$suite" "$chroot"
fi
# It reaches the network as this machine does, and trusts whom this machine was told to.
cp /etc/resolv.conf "$chroot/etc/resolv.conf"
[ -e "$chroot/etc/hosts" ] || printf '127.0.0.1 localhost\n::1 localhost\n' >"$chroot/etc/hosts"
mkdir -p "$chroot/usr/local/share/ca-certificates"
cp -r /usr/local/share/ca-certificates/. "$chroot/usr/local/share/ca-certificates/"
step "$logs/copy.log" "copy the sources" copy_sources
if [ ${#command[@]} -gt 0 ]; then
	say "In it: ${command[*]}"
	inside "${command[@]}"
	exit
fi
say "Installing"
inside deploy/install.sh build run
say "Building and testing"
for preset in release asan; do
	step "$logs/$preset.configure.log" "configure the $preset preset" inside cmake --preset $preset
	step "$logs/$preset.build.log" "compile it" inside cmake --build build/$preset
done
inside build/release/gateway/gatehouse --version
step "$logs/npm.log" "npm packages of the tests" inside sh -c 'cd tests && npm ci --ignore-scripts'
inside ctest --test-dir build/asan --output-on-failure -j "$(nproc)" \
	-L '^(unit|adapter|redis|conformance|cluster)$'
