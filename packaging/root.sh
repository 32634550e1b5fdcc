#!/usr/bin/env bash
# Fresh roots of Debian to try packages in, and prints the folder that it is in.
#
#   packaging/root.sh SUITE     SUITE: bookworm or trixie
#
# With Debian's own redis-server and valkey-server, not started: nothing that a package starts is
# started in there. Not to be changed: try things in a copy.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly suite=${1:?bookworm or trixie}
readonly home=$PWD/.tools/roots/$suite
readonly debian=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

if [[ -e $home/.finished ]]; then
    echo "$home"
    exit
fi
[[ $EUID == 0 ]] || { echo "debootstrap wants to be root" >&2; exit 1; }

# The slow half of it, which is not done again when the other half fails. Where it was broken off, /proc
# may still be there. Without Debian's keyring it fails, rather than trust whatever the mirror has.
bootstrap() {
    rm -rf --one-file-system "$home" && mkdir -p "$home"
    debootstrap --force-check-gpg --variant=minbase --arch=amd64 "$suite" "$home" "$debian"
    touch "$home/.debootstrapped"
}

servers() {
    printf '#!/bin/sh\nexit 101\n' >"$home/usr/sbin/policy-rc.d"
    chmod 755 "$home/usr/sbin/policy-rc.d"
    cp /etc/resolv.conf "$home/etc/resolv.conf"
    # Debian 12 has Valkey only there.
    [[ $suite != bookworm ]] ||
        echo "deb $debian bookworm-backports main" >"$home/etc/apt/sources.list.d/backports.list"
    chroot "$home" apt-get -qq update
    DEBIAN_FRONTEND=noninteractive chroot "$home" apt-get -qq -y install --no-install-recommends \
        redis-server valkey-server
    chroot "$home" apt-get clean
}

if [[ ! -e $home/.debootstrapped ]]; then
    bootstrap >&2
fi
servers >&2
touch "$home/.finished"
echo "$home"
