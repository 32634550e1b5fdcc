#!/usr/bin/env bash
# Fresh roots of Debian to try packages in, and prints the folder that it is in.
#
#   packaging/root.sh SUITE [ARCH]     SUITE: bookworm or trixie; ARCH: amd64 or arm64
#
# With Debian's own redis-server and valkey-server, not started: nothing that a package starts is
# started in there. Not to be changed: try things in a copy.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly suite=${1:?bookworm or trixie} arch=${2:-amd64}
readonly home=$PWD/.tools/roots/$suite-$arch
readonly debian=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

if [[ -e $home/.finished ]]; then
    echo "$home"
    exit
fi
[[ $EUID == 0 ]] || { echo "debootstrap wants to be root" >&2; exit 1; }

# The slow half of it, which is not done again when the other half fails.
bootstrap() {
    local here options=(--variant=minbase --arch="$arch")
    here=$(dpkg --print-architecture)
    rm -rf "$home" && mkdir -p "$home"
    [[ $arch == "$here" ]] || options+=(--foreign)
    debootstrap "${options[@]}" "$suite" "$home" "$debian"
    if [[ $arch != "$here" ]]; then
        # The kernel runs this where it meets a program of that architecture.
        cp "$(command -v "qemu-${arch/arm64/aarch64}-static")" "$home/usr/bin/"
        chroot "$home" /debootstrap/debootstrap --second-stage
    fi
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
