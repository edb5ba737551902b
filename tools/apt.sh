#!/bin/sh
# Install Debian or Ubuntu packages: tools/apt.sh PACKAGE...
#
# The callers ask only for what they found missing. Two at once take turns, and a
# dpkg that was cut off half-way is put right first.
set -eu

say() { printf 'dev: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Run a command as root. Its output matters only when it fails; waiting for it in
# the background lets a signal end it.
quietly() {
    ${sudo:+"$sudo"} env DEBIAN_FRONTEND=noninteractive "$@" \
        </dev/null >"$log" 2>&1 9>&- &
    child=$!
    wait "$child"
}

stop() {
    trap '' INT TERM HUP
    kill "$child" 2>/dev/null || true
    wait "$child" || true
    exit "$1"
}

apt() {
    quietly apt-get -y -q -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@"
}

install() { apt install --no-install-recommends "$@"; }

repair() {
    quietly dpkg --configure -a
    apt --fix-broken install
}

command -v apt-get >/dev/null 2>&1 ||
    die "this is not Debian or Ubuntu; please install: $*"
sudo=
if [ "$(id -u)" -ne 0 ]; then
    sudo=sudo
    command -v sudo >/dev/null 2>&1 ||
        die "neither root nor sudo; please have an administrator run: apt-get install $*"
fi

log=$(mktemp "${TMPDIR:-/tmp}/winipc-apt.XXXXXX")
trap 'rm -f "$log"' EXIT
child=
trap 'stop 129' HUP
trap 'stop 130' INT
trap 'stop 143' TERM

lock_dir=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/winipc
mkdir -p "$lock_dir"
exec 9>"$lock_dir/apt.lock"
flock 9 &
child=$!
wait "$child"

say "installing $* (apt-get)"
case " $* " in
*:i386*) quietly dpkg --add-architecture i386 ;;
esac
# A stale or unreachable index is no reason to stop: the packages may be at hand.
apt update || say "apt-get update failed, trying with the index at hand"
if ! install "$@"; then
    say "apt-get failed, repairing and trying once more"
    repair || true
    install "$@" || { cat "$log" >&2; die "apt-get could not install: $*"; }
fi
