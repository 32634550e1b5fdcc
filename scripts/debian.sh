#!/usr/bin/env bash
# Debian's packages, pinned by version and sha256, and unpacked without being installed.
# For other scripts to source: they set tmp, a folder that they remove in the end. Packages are
# those for DEBIAN_ARCHITECTURE (amd64), of DEBIAN_SUITE (those that are pinned from).

die() {
    echo "$*" >&2
    exit 1
}

need() {
    local program
    for program; do
        command -v "$program" >/dev/null || die "$program is missing here"
    done
}

# verify SHA256 FILE
verify() {
    [[ $(sha256sum <"$2") == "$1  -" ]] || die "${2##*/} has not the sha256 that is pinned"
}

# An apt configuration of our own, so that neither the machine's sources nor its
# package lists change, nor does it matter which Debian this is.
apt_config() {
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    local debian=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
    local security=${DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
    # shellcheck disable=SC2154 # whoever sources this sets it
    mkdir -p "$tmp/apt/lists/partial" "$tmp/apt/cache/archives/partial"
    cat >"$tmp/apt/sources.list" <<END
deb [signed-by=$keyring] $debian bookworm main
deb [signed-by=$keyring] $security bookworm-security main
deb [signed-by=$keyring] $debian bookworm-backports main
deb [signed-by=$keyring] $debian trixie main
deb [signed-by=$keyring] $security trixie-security main
deb [signed-by=$keyring] $debian bullseye main
deb [signed-by=$keyring] $security bullseye-security main
END
    if [[ ${DEBIAN_SUITE:-} ]]; then
        echo "deb [signed-by=$keyring] $debian $DEBIAN_SUITE main" >"$tmp/apt/sources.list"
    fi
    # Suites that are no longer updated still hold what is pinned.
    cat >"$tmp/apt/conf" <<END
Dir::Etc::SourceList "$tmp/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$tmp/apt/lists";
Dir::Cache "$tmp/apt/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
APT::Architecture "${DEBIAN_ARCHITECTURE:-amd64}";
#clear APT::Architectures;
APT::Architectures { "${DEBIAN_ARCHITECTURE:-amd64}"; };
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Check-Valid-Until "false";
Acquire::Retries "2";
Acquire::http::Timeout "30";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
}

# Once a run, however many packages are wanted, and even if it fails.
apt_update() {
    if [[ ! -d $tmp/apt ]]; then
        apt_config
        apt-get -c "$tmp/apt/conf" -qq update >"$tmp/apt/log" 2>&1 || true
    fi
    compgen -G "$tmp/apt/lists/*_Packages*" >/dev/null ||
        die "no package lists: $(grep -m 1 'Failed to fetch' "$tmp/apt/log" || tail -n 1 "$tmp/apt/log")"
}

# unpack_deb PACKAGE VERSION SHA256 FOLDER
unpack_deb() {
    local at=$tmp/download
    need apt-get dpkg
    apt_update
    rm -rf "$at" && mkdir -p "$at" "$4"
    (cd "$at" && apt-get -c "$tmp/apt/conf" -qq download "$1=$2")
    verify "$3" "$at"/*.deb
    dpkg -x "$at"/*.deb "$4"
    rm -rf "$at"
}
