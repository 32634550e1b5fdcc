#!/usr/bin/env bash
# Runs Redis 7.0.15's own test suite with the module loaded into every server that it
# starts, and compares with a run without the module.
#
#   scripts/upstream.sh [--quick] [--reuse] [WAY …]
#
# --quick runs part of the units, and leaves out what is slow in them; --reuse takes the
# last run without the module for the one to compare with. Two ways run at a time;
# CONNAGE_UPSTREAM_JOBS says how many.
#
# Ways, all of them where none is named (quick: without and dry-run):
#   without   no module: what the others are compared with, always run first
#   off       maxage 0
#   huge      maxage 1000d
#   rule      maxage 1s for a user that the suite doesn't use
#   dry-run   maxage 1s dry-run yes: all the way but for closing
#   closing   maxage 1s: the suite's own clients are closed all the time, so that its tests
#             fail; judged for crashes, panics and servers that hang, and for nothing else
#
# The same result means: no test fails that passed without the module. A unit with a
# failure is run again, up to twice, with and without the module alike: some tests of the
# suite depend on time. What fails every time is compared. tests/upstream/units.txt lists
# the units, tests/upstream/known.txt what fails without our doing, with the reason.
#
# The suite comes with Debian's source package, pinned by its sha256; what it makes goes
# to .servers/upstream. Needs tclsh, gcc and make. CONNAGE_MODULE names another module,
# CONNAGE_UPSTREAM_UNITS (blank-separated) other units.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/debian.sh
source scripts/debian.sh
root=$PWD
home=$root/.servers/upstream
server=$root/.servers/redis-7.0
readonly root home server

readonly version=7.0.15
readonly sha256=4b1dc4ee6d622a09fff9c6777191209750fb5e5a725ef78ea012d6eef4c22982
readonly all_ways=(without off huge rule dry-run closing)
readonly attempts=3
readonly unit_seconds=900

declare -rA words=(
    [off]='maxage 0'
    [huge]='maxage 1000d'
    [rule]='rules none: user=nobody-of-the-suite maxage=1s'
    [dry-run]='maxage 1s dry-run yes'
    [closing]='maxage 1s'
)

# ------------------------------------------------------------------------- the suite

# An apt configuration of our own: the machine's sources and lists stay as they are.
download() {
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    local debian=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
    local security=${DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
    mkdir -p "$1/apt/lists/partial" "$1/apt/cache/archives/partial"
    cat >"$1/apt/sources.list" <<END
deb-src [signed-by=$keyring] $debian bookworm main
deb-src [signed-by=$keyring] $security bookworm-security main
END
    cat >"$1/apt/conf" <<END
Dir::Etc::SourceList "$1/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$1/apt/lists";
Dir::Cache "$1/apt/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::Retries "2";
Acquire::http::Timeout "30";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
    apt-get -c "$1/apt/conf" -qq update >&2
    # Every package of this upstream version has the same tar.
    (cd "$1" && apt-get -c "$1/apt/conf" -qq source --download-only --tar-only redis >&2)
    verify "$sha256" "$1/redis_$version.orig.tar.gz"
}

fetch() {
    local tmp
    if [[ -r $home/suite/.sha256 && $(<"$home/suite/.sha256") == "$sha256" ]]; then
        return
    fi
    need apt-get gcc make
    mkdir -p "$home"
    tmp=$(mktemp -d "$home/.tmp.XXXXXX")
    download "$tmp"
    tar -xzf "$tmp/redis_$version.orig.tar.gz" -C "$tmp"
    mkdir -p "$tmp/suite/src"
    mv "$tmp/redis-$version/tests" "$tmp/suite/"
    mv "$tmp/redis-$version/src/redismodule.h" "$tmp/suite/src/"
    # Some units look at what is beside the tests.
    mv "$tmp/redis-$version/redis.conf" "$tmp/redis-$version/utils" "$tmp/suite/"
    make --quiet -C "$tmp/suite/tests/modules" hooks.so infotest.so timer.so >"$tmp/made" 2>&1 ||
        die "the suite's modules don't compile: $(tail -n 3 "$tmp/made")"
    echo "$sha256" >"$tmp/suite/.sha256"
    rm -rf "$home/suite"
    mv "$tmp/suite" "$home/suite"
    rm -rf "$tmp"
}

# launcher FILE PROGRAM
launcher() {
    cat >"$1" <<END
#!/bin/sh
LD_LIBRARY_PATH=$server/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec $server/bin/$2 "\$@"
END
    chmod 755 "$1"
}

# prepare WAY FOLDER: a copy of the suite whose servers load the module
prepare() {
    local program
    rm -rf "$2"
    mkdir -p "$2"
    cp -a "$home/suite/." "$2/"
    for program in cli benchmark check-aof check-rdb server; do
        launcher "$2/src/redis-$program" "redis-$program"
    done
    if [[ $1 == without ]]; then
        return
    fi
    # Into the configuration, for a server that rewrites it and starts again must not
    # find the module twice.
    cat >"$2/src/redis-server" <<END
#!/bin/sh
if [ -f "\$1" ] && [ -w "\$1" ] && ! grep -q '^loadmodule.*connage' "\$1"; then
    printf '\nloadmodule %s %s\n' '$module' '${words[$1]}' >>"\$1"
fi
LD_LIBRARY_PATH=$server/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec $server/bin/redis-server "\$@"
END
}

# ------------------------------------------------------------------------- a unit

# Servers of a run that live and don't answer. One that is stopped, or busy with a script
# or with loading on behalf of a test, answers once that is over.
hanging() { # FOLDER
    local socket
    for socket in "$1"/tests/tmp/*/socket; do
        [[ -S $socket ]] || continue
        if ! timeout 20 "$1/src/redis-cli" -s "$socket" PING >/dev/null 2>&1; then
            # Nobody listens on what an ended server left behind.
            if timeout 5 "$1/src/redis-cli" -s "$socket" PING 2>&1 | grep -q 'refused\|No such'; then
                continue
            fi
            echo "$socket"
        fi
    done
}

# unit FOLDER UNIT WAY PORT: its output into FOLDER/out
unit() {
    local pid deadline extra=() hung
    # One test is refused DEBUG SEGFAULT, as a user without the right to it. Where its client
    # was closed meanwhile, it comes back as the default user, and is not refused.
    # And those that leave the server in an endless script where the client that would end it was
    # closed: the suite then kills it with SIGSEGV.
    [[ $3 != closing ]] || extra+=(--durable --skiptest "/script timeout$" \
        --skiptest "ACLs can block all DEBUG subcommands except one")
    rm -rf "$1/tests/tmp" && mkdir "$1/tests/tmp"
    set -m
    (cd "$1" && exec tclsh tests/test_helper.tcl --single "$2" --clients 1 --dont-clean \
        --baseport "$4" --portcount 400 --timeout "$unit_seconds" "${extra[@]}" "${tags[@]}") \
        >"$1/out" 2>&1 </dev/null &
    pid=$!
    set +m
    deadline=$((SECONDS + (${#tags[@]} ? 300 : unit_seconds)))
    # In earnest the suite may wait for ever for a client that was closed.
    [[ $3 != closing ]] || deadline=$((SECONDS + (${#tags[@]} ? 45 : 150)))
    while kill -0 "$pid" 2>/dev/null; do
        if ((SECONDS > deadline)); then
            hung=$(hanging "$1")
            [[ -z $hung ]] || echo "[hang]: $hung" >>"$1/out"
            echo "[late]: the suite did not finish with $2" >>"$1/out"
            kill -- "-$pid" 2>/dev/null || true
            break
        fi
        sleep 0.2
    done
    wait "$pid" 2>/dev/null || true
    kill -KILL -- "-$pid" 2>/dev/null || true
    # What no server may ever write.
    find "$1/tests/tmp" \( -name stdout -o -name stderr \) -print0 |
        xargs -0 -r grep -l 'BUG REPORT\|panicked\|ASSERTION FAILED\|module.*internal fault' |
        sed 's/^/[crash]: /' >>"$1/out" || true
}

# tests FOLDER: "ok NAME" or "bad NAME" of each, without colours and times
tests() {
    sed -e 's/\x1b\[[0-9;]*m//g' "$1/out" |
        sed -n -e 's/^\[ok\]: \(.*\) ([0-9]* ms)$/ok\t\1/p' \
            -e 's/^\[err\]: \(.*\) in tests\/.*$/bad\t\1/p' \
            -e 's/^\[exception\]: \(.*\)$/bad\t\1/p' \
            -e 's/^\[late\]: \(.*\)$/bad\t\1/p' |
        # The name of a memory leak check holds a pid.
        sed 's/(pid [0-9]*)/(pid)/' | sort -u
}

# run_way WAY: fills $home/results/WAY.{tests,crashes}
run_way() {
    local way=$1 at=$home/run-$1 name try failed crashed=0 port=21000
    local result=$home/results/$way
    # Each way has ports of its own.
    for name in "${all_ways[@]}"; do
        [[ $name != "$way" ]] || break
        port=$((port + 500))
    done
    mkdir -p "$home/results"
    : >"$result.tests" && : >"$result.crashes" && : >"$result.retried"
    prepare "$way" "$at"
    for name in "${units[@]}"; do
        : >"$at/ok" && : >"$at/all"
        for ((try = 1; try <= attempts; try++)); do
            unit "$at" "$name" "$way" "$port"
            cp "$at/out" "$result.${name//\//-}.$try.log"
            grep '^\[crash\]\|^\[hang\]' "$at/out" | sed "s|^|$name: |" >>"$result.crashes" || true
            tests "$at" >"$at/seen"
            sed -n 's/^ok\t//p' "$at/seen" >>"$at/ok"
            sed 's/^[a-z]*\t//' "$at/seen" >>"$at/all"
            failed=$(grep -c '^bad' "$at/seen" || true)
            if ((failed == 0)) || [[ $way == closing ]]; then
                break
            fi
            sed -n "s|^bad\t|$name\t|p" "$at/seen" >>"$result.retried"
        done
        # Passed at least once: ok. What once broke off a unit that went through later is
        # no test by itself.
        ((failed > 0)) || cp "$at/ok" "$at/all"
        sort -u "$at/ok" >"$at/ok.sorted"
        sed "s|^|ok\t$name\t|" "$at/ok.sorted" >>"$result.tests"
        sort -u "$at/all" | comm -23 - "$at/ok.sorted" | sed "s|^|bad\t$name\t|" >>"$result.tests"
    done
    crashed=$(wc -l <"$result.crashes")
    echo "$way: $(grep -c '^ok' "$result.tests" || true) passed," \
        "$(grep -c '^bad' "$result.tests" || true) failed, $(wc -l <"$result.retried") retried," \
        "$crashed crashes or hangs"
}

known() { # NAME: the reason, where it is one of those
    awk -F '\t' -v name="$1" '!/^#/ && $1 == name { print $2; found = 1 } END { exit !found }' \
        tests/upstream/known.txt
}

# judge WAY: what is not as it was without the module
judge() {
    local result=$home/results/$1 state unit_name name reason bad=0
    if [[ -s $result.crashes ]]; then
        sed "s/^/$1: /" "$result.crashes" >&2
        bad=1
    fi
    if [[ $1 == closing ]]; then
        return "$bad"
    fi
    while IFS=$'\t' read -r state unit_name name; do
        if grep -qxF "$state"$'\t'"$unit_name"$'\t'"$name" "$home/results/without.tests"; then
            if [[ $state == bad && $1 == without ]] && ! reason=$(known "$name"); then
                echo "without: $unit_name: $name: fails, and tests/upstream/known.txt has no reason" >&2
                bad=1
            fi
        elif [[ $state == bad ]]; then
            if reason=$(known "$name"); then
                echo "$1: $unit_name: $name: $reason"
            else
                echo "$1: $unit_name: $name: fails with the module only" >&2
                bad=1
            fi
        fi
    done <"$result.tests"
    # Nor is any left out.
    while IFS=$'\t' read -r state unit_name name; do
        if ! grep -qF $'\t'"$unit_name"$'\t'"$name" "$result.tests" && ! known "$name" >/dev/null; then
            echo "$1: $unit_name: $name: was not run" >&2
            bad=1
        fi
    done < <(grep '^ok' "$home/results/without.tests")
    return "$bad"
}

main() {
    local quick=no reuse=no ways=() way bad=0 word
    tags=()
    for word; do
        case $word in
            --quick) quick=yes ;;
            --reuse) reuse=yes ;;
            -h | --help) exec sed -n '2,/^set /{s/^# \{0,1\}//p}' "scripts/${0##*/}" ;;
            *)
                [[ $word == without || ${words[$word]:-} ]] || die "no such way: $word (${all_ways[*]})"
                [[ $word == without ]] || ways+=("$word")
                ;;
        esac
    done
    if ((${#ways[@]} == 0)); then
        ways=("${all_ways[@]:1}")
        [[ $quick == no ]] || ways=(dry-run)
    fi
    need tclsh
    module=${CONNAGE_MODULE:-$root/target/release/libconnage.so}
    [[ -r $module ]] || die "no $module: build the module first"
    [[ -x $server/server ]] || scripts/servers.sh redis-7.0
    if [[ ! -x $server/server ]]; then
        [[ -z ${CI:-} ]] || die "no redis-7.0 to run the suite on"
        echo "skipped: no redis-7.0 to run the suite on" >&2
        return 0
    fi
    fetch
    if [[ -n ${CONNAGE_UPSTREAM_UNITS:-} ]]; then
        read -ra units <<<"$CONNAGE_UPSTREAM_UNITS"
    elif [[ $quick == yes ]]; then
        mapfile -t units < <(sed -n 's/ quick$//p' tests/upstream/units.txt | grep -v '^#')
        tags=(--tags '-slow -large-memory')
    else
        mapfile -t units < <(grep -v '^#' tests/upstream/units.txt | cut -d ' ' -f 1)
    fi
    if [[ $reuse == no || ! -s $home/results/without.tests ]]; then
        run_way without
    fi
    judge without || bad=1
    for way in "${ways[@]}"; do
        while (($(jobs -rp | wc -l) >= ${CONNAGE_UPSTREAM_JOBS:-2})); do
            wait -n || true
        done
        run_way "$way" &
    done
    wait
    for way in "${ways[@]}"; do
        judge "$way" || bad=1
    done
    ((bad == 0)) || die "the module changes the suite's results; $home/results has the logs"
    echo "the same results in every way"
}

main "$@"
