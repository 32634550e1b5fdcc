#!/usr/bin/env bash
# Builds the module for packages: for Debian 11's libc (2.31) and later, stripped, its debug
# symbols in a file apart, and byte for byte the same in whatever folder.
#
#   packaging/build.sh [ARCH]     ARCH: x86_64 (where nothing is said) or aarch64
#
# What is there afterwards, in target/package/build/ARCH/:
#   libconnage.so         the module
#   libconnage.so.debug   what gdb finds by its build id
#
# TARGET_DIR is where cargo works, if not in target/package/cargo.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly arch=${1:-x86_64}
readonly triple=$arch-unknown-linux-gnu
readonly out=target/package/build/$arch
readonly target_dir=${TARGET_DIR:-target/package/cargo}
cargo_home=${CARGO_HOME:-$HOME/.cargo}

# What the machine's owner likes for builds of their own.
clean_environment() {
    local name
    for name in ${!CARGO_PROFILE_@} ${!CARGO_BUILD_@} ${!CARGO_TARGET_@} ${!CC_@} ${!CFLAGS@} \
        RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER CC LDFLAGS; do
        unset "$name"
    done
}

# The linker takes a symbol's version from the libc that it links with, so that is Debian 11's. Flags
# go by packaging/rustc.sh: cargo names folders of crates by a hash of RUSTFLAGS, and with these the
# folder that this is in would find its way into the module. Empty, they stand above those of any
# config.toml, such as -Ctarget-cpu=native, with which the module would not run elsewhere.
compile() {
    SYSROOT=$(packaging/sysroot.sh "$arch")
    LINKER=gcc
    [[ $arch == "$(uname -m)" ]] || LINKER=$arch-linux-gnu-gcc
    export SYSROOT LINKER
    CARGO_ENCODED_RUSTFLAGS='' HERE=$PWD ARCH=$arch CARGO_HOME=$cargo_home RUSTC_WRAPPER=$PWD/packaging/rustc.sh CC_SHELL_ESCAPED_FLAGS=1 \
        CFLAGS="'-ffile-prefix-map=$cargo_home=/cargo' '-ffile-prefix-map=$PWD=/connage'" \
        cargo build --locked --release --lib --target "$triple" --target-dir "$target_dir"
}

split() {
    local tools=
    [[ $arch == "$(uname -m)" ]] || tools=$arch-linux-gnu-
    rm -rf "$out" && mkdir -p "$out"
    cp "$target_dir/$triple/release/libconnage.so" "$out/libconnage.so.full"
    "${tools}objcopy" --only-keep-debug --compress-debug-sections "$out/libconnage.so.full" "$out/libconnage.so.debug"
    "${tools}objcopy" --strip-unneeded --remove-section=.comment \
        --add-gnu-debuglink="$out/libconnage.so.debug" "$out/libconnage.so.full" "$out/libconnage.so"
    rm "$out/libconnage.so.full"
    # A server refuses a module that is not executable.
    chmod 755 "$out/libconnage.so"
    chmod 644 "$out/libconnage.so.debug"
}

clean_environment
compile
split
