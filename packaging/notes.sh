#!/usr/bin/env bash
# What CHANGELOG.md says of this version, to be published with it, once everything agrees on which
# version that is.
#
#   packaging/notes.sh [TAG]     TAG: such as v1.2.3, which then has to agree as well
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$(packaging/version.sh)

differs() {
    echo "Cargo.toml says $version, but $*" >&2
    exit 1
}

[[ ${1:-v$version} == "v$version" ]] || differs "the tag is $1"
python=$(sed -n 's/^version = "\(.*\)"/\1/p' clients/python/pyproject.toml)
[[ $python == "$version" ]] || differs "clients/python/pyproject.toml says $python"
newest=$(sed -n 's/^## \([0-9][0-9.]*\).*/\1/p' CHANGELOG.md | head -n 1)
[[ $newest == "$version" ]] || differs "the newest of CHANGELOG.md is $newest"

awk -v version="$version" '/^## / { inside = ($2 == version); next } inside' CHANGELOG.md
