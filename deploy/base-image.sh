#!/bin/bash
# The image all others are built from, where no registry can be reached: see usage below.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=deploy/lib.sh
. "$root/deploy/lib.sh"

usage() {
	cat <<'END'
usage: deploy/base-image.sh [--suite NAME] [NAME:TAG]

Makes a small image of Debian 13 with mmdebstrap, from the mirrors this machine's apt knows,
and imports it into Docker (default gatehouse-base:trixie). Then:

  CLUSTER_BASE=gatehouse-base:trixie docker compose up --build

  --suite NAME  another release of Debian, e.g. bookworm

Certificate authorities that were added to this machine (/usr/local/share/ca-certificates) are
in the image too, so that what reaches its mirrors and npm's registry reaches them from there.
Needs mmdebstrap, a Docker engine that runs, and root for either where Docker wants it.
END
}

suite=trixie
image=
while [ $# -gt 0 ]; do
	case $1 in
	--suite)
		[ $# -ge 2 ] || fail "--suite needs a value."
		suite=$2
		shift
		;;
	-h | --help)
		usage
		exit 0
		;;
	-*) fail "Unknown option '$1'." "See deploy/base-image.sh --help." ;;
	*)
		[ -z "$image" ] || fail "One name is enough: '$image' or '$1'?"
		image=$1
		;;
	esac
	shift
done
[[ $suite =~ ^[a-z]+$ ]] || fail "'$suite' is no release of Debian, such as trixie."
image=${image:-gatehouse-base:$suite}

have mmdebstrap || fail "mmdebstrap is not installed." "apt-get install mmdebstrap"
have docker || fail "docker is not installed." "apt-get install docker.io"
docker version >/dev/null 2>&1 || fail "The Docker engine does not answer: docker version" \
	"Does it run, and may you use it?"

# Lines of a sources.list for the suite, by what apt says of this machine's own sources.
# shellcheck disable=SC2016 # what apt fills in
mirrors() {
	apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' | sort -u |
		while read -r label uri; do
			case $label in
			Debian) printf 'deb %s %s main\ndeb %s %s-updates main\n' "$uri" "$suite" "$uri" "$suite" ;;
			Debian-Security) printf 'deb %s %s-security main\n' "$uri" "$suite" ;;
			esac
		done
}

# What nobody reads in a container, as in Debian's own small images.
lean=()
for path in /usr/share/man /usr/share/info /usr/share/locale /usr/share/doc; do
	lean+=(--dpkgopt="path-exclude=$path/*")
done
lean+=(--dpkgopt='path-include=/usr/share/doc/*/copyright')

dir=$(mktemp -d /tmp/gatehouse-base.XXXXXX)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

sources=$(mirrors)
[ -n "$sources" ] || fail "apt knows no mirror of Debian." \
	"Is /etc/apt/sources.list(.d) that of a Debian, and was apt-get update run?"
mkdir -p "$dir/certificates"
[ ! -d /usr/local/share/ca-certificates ] || cp -rL /usr/local/share/ca-certificates/. "$dir/certificates"

say "Making $image"
# A service that comes with a package does not start while an image is built.
# shellcheck disable=SC2016 # mmdebstrap's shell has the directory as $1
step "$dir/mmdebstrap.log" "mmdebstrap (may take a minute)" \
	mmdebstrap --variant=minbase --include=ca-certificates "${lean[@]}" \
	--customize-hook='printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"' \
	--customize-hook="copy-in '$dir/certificates/.' /usr/local/share/ca-certificates" \
	--customize-hook='chroot "$1" update-ca-certificates' \
	"$suite" "$dir/base.tar" "$sources"
step "$dir/import.log" "docker import" docker import --change 'CMD ["bash"]' "$dir/base.tar" "$image"
say "" "To use it:  CLUSTER_BASE=$image docker compose up --build"
