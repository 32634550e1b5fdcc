#!/usr/bin/env bash
# Makes all packages of one architecture of what packaging/build.sh has built for it, byte for byte the same in whatever folder.
#
#   packaging/package.sh [ARCH]     ARCH: x86_64 (where nothing is said) or aarch64
#
# What is there afterwards, in target/package/: the .deb, the .rpm, the .tar.gz, the debug symbols, the
# SBOM, the Python package, and SHA256SUMS of whatever is there of this version, of any architecture.
#
# SOURCE_DATE_EPOCH, if set, is the time that packages bear; else it is the last commit's.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly arch=${1:-x86_64}
readonly out=$PWD/target/package
readonly stage=target/package/stage # named in Cargo.toml
version=$(packaging/version.sh)
readonly version
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
export PATH=${CONNAGE_TOOLS:-$PWD/.tools/cargo}/bin:$PATH
export LC_ALL=C TZ=UTC
umask 022

# Whatever is packed, under the names that it has in the packages.
stage() {
    rm -rf "$stage" && mkdir -p "$stage/docs"
    cp "target/package/build/$arch/libconnage.so" packaging/connage.conf README.md CHANGELOG.md \
        LICENSE-MIT LICENSE-APACHE "$stage/"
    cp docs/*.md docs/*.svg "$stage/docs/"
    sed "s/@VERSION@/$version/" packaging/man/connage.7 >"$stage/connage.7"
    # Offline: what it finds on the network would differ from day to day.
    cargo fetch --quiet --locked
    cargo about generate --frozen --fail --config packaging/about.toml packaging/about.hbs \
        --output-file "$stage/third-party.txt" 2>"$stage/.log" || { cat "$stage/.log" >&2; exit 1; }
    rm "$stage/.log"
    sbom
}

# cargo-cyclonedx writes beside each Cargo.toml, and where that was.
sbom() {
    local at=$stage/.sbom
    mkdir "$at"
    cp -r Cargo.toml Cargo.lock README.md src engine tests benches "$at/"
    cargo cyclonedx --quiet --manifest-path "$at/Cargo.toml" --format json --spec-version 1.5 \
        --target all --no-build-deps
    # As a URL, in which a blank of the path is written otherwise.
    sed "s|path+file://[^\"]*/$at|path+file:///connage|g" "$at/connage.cdx.json" >"$stage/connage.cdx.json"
    rm -rf "$at"
}

# Debian's own files: what is compressed there, and by whom and when it was packed.
stage_debian() {
    mkdir "$stage/debian"
    gzip -9n <"$stage/connage.7" >"$stage/debian/connage.7.gz"
    gzip -9n <CHANGELOG.md >"$stage/debian/changelog.gz"
    gzip -9n <"$stage/third-party.txt" >"$stage/debian/third-party.txt.gz"
    cat >"$stage/debian/changelog" <<END
connage ($version-1) stable; urgency=medium

  * Version $version: see changelog.gz.

 -- the connage authors <connage@localhost>  $(date -R -d "@$SOURCE_DATE_EPOCH")
END
}

# archive NAME FOLDER: a .tar.gz of a folder, in which it is called NAME
archive() {
    tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --mode=go=rX,u+rw,a-s --format=gnu --directory "${2%/*}" --transform "s|^${2##*/}|$1|" "${2##*/}" |
        gzip -9n >"$out/$1.tar.gz"
}

# Found by gdb by the module's build id, once it is unpacked in /.
debug_symbols() {
    local id
    id=$(readelf --notes "target/package/build/$arch/libconnage.so" | sed -n 's/.*Build ID: //p')
    rm -rf "$stage-debug"
    install -D -m 644 "target/package/build/$arch/libconnage.so.debug" \
        "$stage-debug/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug"
    archive "connage-$version-linux-$arch-debug" "$stage-debug"
    rm -rf "$stage-debug"
}

python_package() {
    # hatchling takes the files' own modes along.
    chmod -R u=rwX,go=rX clients/python/src clients/python/tests
    .tools/python/bin/python -m build --no-isolation --outdir "$out" clients/python >/dev/null
}

mkdir -p "$out"
find "$out" -maxdepth 1 -type f ! -name "*[-_]${version}[-.]*" -delete
stage
archive "connage-$version-linux-$arch" "$stage"
debug_symbols
stage_debian
touch --no-dereference --date "@$SOURCE_DATE_EPOCH" "$stage" "$stage"/*
cargo deb --quiet --locked --no-build --no-strip --target "$arch-unknown-linux-gnu" --output "$out/"
cargo generate-rpm --target "$arch-unknown-linux-gnu" --payload-compress zstd --output "$out/"
cp "$stage/connage.cdx.json" "$out/connage-$version.cdx.json"
python_package
(cd "$out" && sha256sum -- *.deb *.rpm *.tar.gz *.whl *.cdx.json >SHA256SUMS)
stat --format='%9s  %n' "$out"/*.{deb,rpm,tar.gz,whl,cdx.json} | sed "s|$out/||"
