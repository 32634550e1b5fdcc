#!/usr/bin/env bash
# The packages for arm64, cross-built, and then tried with Debian 13's own redis-server for arm64 under
# qemu-user: it loads the module, and evicts. As root.
#
# With rustup's standard library for arm64 where that is installed, else with Debian 13's own Rust, in
# a Debian 13.
set -euo pipefail
# Else what fails in $(cross_root) and $(emulated_redis) would be taken for finished.
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/debian.sh
source scripts/debian.sh
readonly triple=aarch64-unknown-linux-gnu

has_std() {
    compgen -G "$(rustc --print sysroot)/lib/rustlib/$triple/lib/libstd-*.rlib" >/dev/null
}

# Debian 13 with what cross-building takes
cross_root() {
    local root=$PWD/.tools/roots/cross base
    if [[ ! -e $root/.cross ]]; then
        base=$(packaging/root.sh trixie)
        rm -rf "$root" && cp -a "$base" "$root"
        {
            chroot "$root" dpkg --add-architecture arm64
            chroot "$root" apt-get -qq update
            DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get -qq -y install --no-install-recommends \
                cargo rustc libstd-rust-dev:arm64 gcc libc6-dev gcc-aarch64-linux-gnu \
                libc6-dev-arm64-cross libclang-dev python3
            chroot "$root" apt-get clean
        } >&2
        touch "$root/.cross"
    fi
    echo "$root"
}

# In a mount namespace of its own: the project and cargo's crates are there for as long as it builds.
build_in_debian() {
    local root crates=${CARGO_HOME:-$HOME/.cargo}/registry
    root=$(cross_root)
    packaging/sysroot.sh aarch64 >/dev/null
    cargo fetch --quiet --locked
    mkdir -p "$root/connage" "$root/root/.cargo/registry" target
    # shellcheck disable=SC2016 # for that shell to expand
    unshare --mount sh -euc '
        mount --bind "$1" "$2/connage"
        mount --bind "$3" "$2/root/.cargo/registry"
        mount -t proc proc "$2/proc"
        exec chroot "$2" env HOME=/root PATH=/usr/bin:/bin CARGO_NET_OFFLINE=true \
            TARGET_DIR=target/package/cargo-debian /connage/packaging/build.sh aarch64
    ' - "$PWD" "$root" "$crates"
}

# Debian 13's redis-server for arm64 and what it needs, unpacked
emulated_redis() {
    local at=$PWD/.tools/redis-arm64 deb
    if [[ ! -e $at/.finished ]]; then
        tmp=$(mktemp -d "$PWD/.tools/.tmp.XXXXXX")
        trap 'rm -rf "$tmp"' EXIT
        DEBIAN_ARCHITECTURE=arm64 DEBIAN_SUITE=trixie apt_update
        apt-get -c "$tmp/apt/conf" -o Dir::State::status=/dev/null -o Dir::State::extended_states=/dev/null \
            -qq -y --download-only --no-install-recommends install redis-server >&2
        rm -rf "$at" && mkdir -p "$at/usr/lib"
        ln -s usr/lib "$at/lib"
        for deb in "$tmp"/apt/cache/archives/*.deb; do
            dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$at" --keep-directory-symlink
        done
        touch "$at/.finished"
    fi
    echo "$at"
}

packaging/tools.sh package arm64
if has_std; then
    packaging/build.sh aarch64
else
    build_in_debian
fi
packaging/package.sh aarch64
REDIS=$(emulated_redis)
export REDIS
PYTHONPATH=packaging/tests exec unshare --net --mount --pid --fork --kill-child \
    --mount-proc sh -c 'ip link set lo up && exec python3 -B -W ignore::ResourceWarning -m unittest --verbose arm64'
