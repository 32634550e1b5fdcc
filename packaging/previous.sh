#!/usr/bin/env bash
# The version before, as a .deb to upgrade from, in target/package/previous: its source as it was
# then, in today's package.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly at=target/package/previous

# The second of CHANGELOG.md's versions: its tag, or else the last commit that bore it.
version=$(sed -n 's/^## \([0-9][0-9.]*\).*/\1/p' CHANGELOG.md | sed -n 2p)
commit=$(git rev-parse --quiet --verify "v$version^{commit}" ||
    git log --format=%H^ -S"version = \"$version\"" -1 -- Cargo.toml)
commit=$(git rev-parse "$commit")

deb=$at/connage_$version-1_amd64.deb
[[ $(cat "$deb.commit" 2>/dev/null) != "$commit" ]] || exit 0

rm -rf "$at" && mkdir -p "$at/source/.tools" "$at/tree"
git archive "$commit" | tar -x -C "$at/source"
rm -rf "$at/source/packaging"
cp -r packaging "$at/source/"
cp scripts/debian.sh "$at/source/scripts/"
ln -s "$(packaging/sysroot.sh x86_64)" "$at/source/.tools/"
"$at/source/packaging/build.sh"
dpkg-deb --raw-extract target/package/connage_*_amd64.deb "$at/tree"
cp "$at/source/target/package/build/x86_64/libconnage.so" "$at/tree/usr/lib/connage/"
sed -i "s/^Version: .*/Version: $version-1/" "$at/tree/DEBIAN/control"
(cd "$at/tree" && find usr -type f -exec md5sum {} + >DEBIAN/md5sums)
dpkg-deb --root-owner-group --build "$at/tree" "$deb" >/dev/null
rm -rf "$at/source" "$at/tree"
echo "$commit" >"$deb.commit"
