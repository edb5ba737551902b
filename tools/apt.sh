#!/bin/sh
# Install Debian or Ubuntu packages: tools/apt.sh PACKAGE...
#
# The callers ask only for what they found missing. Two at once take turns, and a
# dpkg that was cut off half-way is put right first.
set -eu

say() { printf 'dev: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Its output matters only when it fails.
apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q \
        -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" \
        </dev/null >"$log" 2>&1
}

install() { apt install --no-install-recommends "$@"; }

repair() {
    as_root env DEBIAN_FRONTEND=noninteractive dpkg --configure -a \
        </dev/null >>"$log" 2>&1
    apt --fix-broken install
}

command -v apt-get >/dev/null 2>&1 ||
    die "this is not Debian or Ubuntu; please install: $*"
[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1 ||
    die "neither root nor sudo; please have an administrator run: apt-get install $*"

log=$(mktemp "${TMPDIR:-/tmp}/winipc-apt.XXXXXX")
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

lock_dir=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/winipc
mkdir -p "$lock_dir"
exec 9>"$lock_dir/apt.lock"
flock 9

say "installing $* (apt-get)"
# A stale or unreachable index is no reason to stop: the packages may be at hand.
apt update || say "apt-get update failed, trying with the index at hand"
if ! install "$@"; then
    say "apt-get failed, repairing and trying once more"
    repair || true
    install "$@" || { cat "$log" >&2; die "apt-get could not install: $*"; }
fi
