#!/usr/bin/env bash
# The tools that packages are made and checked with, pinned, in .tools.
#
#   packaging/tools.sh [package] [test] [arm64] [images] [lint]     (package, where nothing is named)
#
# cargo's tools are compiled, with little optimisation: ten minutes, once for each version.
# CONNAGE_TOOLS is where they are kept, if not in .tools/cargo (say, for several clones).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly cargo_tools=${CONNAGE_TOOLS:-$PWD/.tools/cargo}

# cargo_tool NAME VERSION [OPTION…]
cargo_tool() {
    local name=$1 version=$2
    [[ ! -e $cargo_tools/.$name-$version ]] || return 0
    CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR="$cargo_tools/target" \
        cargo install --quiet --locked --profile dev --root "$cargo_tools" --version "=$version" "${@:3}" "$name"
    touch "$cargo_tools/.$name-$version"
}

# python_tools NAME REQUIREMENTS: an environment of its own, in .tools/NAME
python_tools() {
    if ! cmp -s "$2" ".tools/$1/requirements.txt"; then
        rm -rf ".tools/$1"
        python3 -m venv ".tools/$1"
        ".tools/$1/bin/pip" install --quiet --require-hashes --no-deps --only-binary :all: --requirement "$2"
        cp "$2" ".tools/$1/requirements.txt"
    fi
}

# apt PROGRAM=PACKAGE…: installs the packages of those programs that are missing
apt() {
    local pair missing=()
    for pair; do
        command -v "${pair%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    ((${#missing[@]})) || return 0
    if [[ $EUID != 0 ]]; then
        echo "as root: apt-get install --no-install-recommends ${missing[*]}" >&2
        return 1
    fi
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "${missing[@]}" >/dev/null
}

mkdir -p .tools
(($#)) || set -- package
for group; do
    case $group in
        package)
            cargo_tool cargo-deb 3.8.0
            cargo_tool cargo-generate-rpm 0.21.1
            cargo_tool cargo-cyclonedx 0.5.9
            cargo_tool cargo-about 0.9.3 --features cli
            rm -rf "$cargo_tools/target"
            python_tools python packaging/requirements.txt
            ;;
        test)
            apt debootstrap=debootstrap rpm=rpm gpg=gnupg ip=iproute2
            python_tools tests packaging/requirements-test.txt
            ;;
        arm64) apt qemu-aarch64-static=qemu-user-static aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu ;;
        images) apt buildah=buildah ;;
        lint) apt lintian=lintian rpmlint=rpmlint man=man-db shellcheck=shellcheck ;;
        *) echo "usage: packaging/tools.sh [package] [test] [arm64] [images] [lint]" >&2; exit 2 ;;
    esac
done
