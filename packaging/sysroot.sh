#!/usr/bin/env bash
# Debian 11's libc to link with, and prints the folder that it is in.
#
#   packaging/sysroot.sh ARCH     ARCH: x86_64 or aarch64
#
# Only linked with: headers are the machine's own.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/debian.sh
source scripts/debian.sh

declare -rA architecture=([x86_64]=amd64 [aarch64]=arm64)
# PACKAGE VERSION SHA256, for each
declare -rA pins=(
    [x86_64]="
libc6 2.31-13+deb11u11 05f7264da867b37f4c5ce49266b558ea1e81e05a9464f623152fca70f3550282
libc6-dev 2.31-13+deb11u11 e7f7b45d9c5cfcf37609f0b6efd3c645272c812144703af89dfd32218fcb0fd3
libgcc-s1 10.2.1-6 e478f2709d8474165bb664de42e16950c391f30eaa55bc9b3573281d83a29daf"
    [aarch64]="
libc6 2.31-13+deb11u11 baaa9aa184e2f21738c5819055e6740cc5b22f198e3f416e33f82b40ff6933d8
libc6-dev 2.31-13+deb11u11 28d478134722dcd4b0bd2045a199301d18713bf95947b9fce66634e7aeacab2e
libgcc-s1 10.2.1-6 e2fcdb378d3c1ad1bcb64d4fb6b37aab44011152beca12a4944f435a2582df1f"
)

readonly arch=${1:?x86_64 or aarch64}
[[ ${pins[$arch]:-} ]] || die "no sysroot for $arch"
readonly home=$PWD/.tools/sysroot-$arch

if [[ $(cat "$home/.stamp" 2>/dev/null) != "${pins[$arch]}" ]]; then
    mkdir -p .tools
    tmp=$(mktemp -d "$PWD/.tools/.tmp.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
    DEBIAN_ARCHITECTURE=${architecture[$arch]}
    while read -r package version sha256; do
        unpack_deb "$package" "$version" "$sha256" "$tmp/new" >&2
    done <<<"${pins[$arch]#$'\n'}"
    # The linker follows links as the machine does, out of the folder.
    find "$tmp/new" -type l -lname '/*' | while read -r link; do
        ln -sfnr "$tmp/new$(readlink "$link")" "$link"
    done
    echo "${pins[$arch]}" >"$tmp/new/.stamp"
    rm -rf "$home"
    mv "$tmp/new" "$home"
fi
echo "$home"
