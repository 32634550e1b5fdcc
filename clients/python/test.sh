#!/usr/bin/env bash
# Runs the client's tests, in virtual environments that it makes beside itself: types; our own
# tests with the newest and the oldest redis-py; redis-py's own tests of pools, with our classes
# in place of its own. What is skipped is named; where CI is set, it fails instead.
#
#   clients/python/test.sh [words for pytest …]
#   clients/python/test.sh --quick   types, and our own tests with the newest redis-py on one server
#   clients/python/test.sh --all     also: each redis-py on each Python that there is, how it is
#                                    packed, and a minute of load in threads and in tasks, half of
#                                    it with RESP2 and half with RESP3
#
# PYTHON: the interpreter (python3); CONNAGE_MODULE: the module; CONNAGE_TEST_SERVERS: names.
set -euo pipefail
cd "$(dirname "$0")"

readonly newest=8.1.0 oldest=5.0.0
readonly between=(6.4.0 7.4.1)
readonly port=6379 # redis-py's own tests expect their server there
readonly python=${PYTHON:-python3}
failed=()

environment() { # NAME VERSION HIREDIS [PYTHON]: with that version of redis-py, and hiredis or not
    local folder=.venv/$1 interpreter=${4:-$python} wanted
    wanted="$2 $3 $("$interpreter" -V) $(cat requirements-test.txt pyproject.toml | sha256sum)"
    if [[ -f $folder/made && $(<"$folder/made") == "$wanted" ]]; then
        return
    fi
    rm -rf "$folder"
    "$interpreter" -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check -r requirements-test.txt
    [[ $3 == with ]] || "$folder/bin/pip" uninstall --quiet --yes hiredis
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation \
        "redis==$2" --editable .
    echo "$wanted" >"$folder/made"
}

step() { # NAME COMMAND…
    echo "== $1"
    "${@:2}" || failed+=("$1")
}

# Several at a time: they mostly wait.
together() { # NAME COMMAND…
    local log
    log=$(mktemp)
    "${@:2}" >"$log" 2>&1 &
    jobs_of[$!]=$1 logs_of[$!]=$log
}

those_together() {
    local pid
    for pid in "${!jobs_of[@]}"; do
        wait "$pid" || failed+=("${jobs_of[$pid]}")
        echo "== ${jobs_of[$pid]}"
        cat "${logs_of[$pid]}"
        rm -f "${logs_of[$pid]}"
    done
    jobs_of=() logs_of=()
}
declare -A jobs_of=() logs_of=()

# redis-py's own tests, as its source distribution has them.
upstreams_tests() { # NAME VERSION
    local source=.venv/redis-$2
    if [[ ! -d $source/tests ]]; then
        rm -rf "$source"
        .venv/"$1"/bin/pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
            --no-build-isolation --dest .venv/sdist "redis==$2"
        mkdir -p "$source"
        tar xzf ".venv/sdist/redis-$2.tar.gz" -C "$source" --strip-components 1
    fi
    if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        echo "skipped: redis-py's own tests: port $port, which they use, is taken" >&2
        [[ -z ${CI:-} ]]
        return
    fi
    local here=$PWD server status=0
    ../../.servers/redis-7.0/server --port "$port" --bind 127.0.0.1 --save '' \
        --enable-debug-command yes >/dev/null &
    server=$!
    until (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 "$server" || return 1
        sleep 0.05
    done
    (cd "$source" && PYTHONPATH="$here/tests:$PWD" "$here/.venv/$1/bin/python" -m pytest \
        -p redis_py_instead -q -rs -p no:cacheprovider -o addopts= -o asyncio_mode=auto -W ignore \
        tests/test_connection_pool.py tests/test_asyncio/test_connection_pool.py) || status=$?
    kill "$server"
    wait "$server" || true
    return "$status"
}

own_tests() { # NAME words…
    .venv/"$1"/bin/python -m pytest -q -rs "${@:2}"
}

# The wheel and the source distribution.
packed() {
    rm -rf .venv/dist
    .venv/newest/bin/python -m build --no-isolation --outdir .venv/dist . >.venv/build.log
    .venv/newest/bin/twine check --strict .venv/dist/*
}

load() { # NAME
    local kind protocol
    for kind in threads tasks; do
        for protocol in 2 3; do
            .venv/"$1"/bin/python tests/load.py "$kind" 30 "$protocol" || return 1
        done
    done
}

# What depends on redis-py, hiredis or Python; the rest is the same in all of them.
readonly edges=(tests/test_replies.py tests/test_closing.py tests/test_kept.py tests/test_pools.py
    tests/test_duration.py)

everything() {
    local version wanted python_there minor
    for version in "$oldest" "${between[@]}" "$newest"; do
        for python_there in 3.9 3.10 3.11 3.12 3.13 3.14; do
            [[ $version == 8.* && $python_there == 3.9 ]] && continue
            wanted=$version
            [[ $version != 7.* || $python_there != 3.9 ]] || wanted=7.0.1 # the last one for it
            minor=$(interpreter_of "$python_there") || {
                echo "skipped: there is no Python $python_there"
                continue
            }
            environment "$wanted-$python_there" "$wanted" with "$minor"
            step "redis-py $wanted, Python $python_there" own_tests "$wanted-$python_there" "${edges[@]}"
        done
    done
    for version in newest newest-hiredis oldest oldest-plain; do
        step "a minute of load, $version" load "$version"
    done
}

interpreter_of() { # PYTHON's version: pyenv's, uv's, or the system's
    compgen -G "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1.*/bin/python" | tail -1 | grep . ||
        uv python find --no-python-downloads "$1" 2>/dev/null ||
        command -v "python$1"
}

finish() {
    if ((${#failed[@]})); then
        printf 'failed: %s\n' "${failed[@]}" >&2
        exit 1
    fi
    exit 0
}

if [[ ${1:-} == --all ]]; then
    all=yes
    shift
fi
environment newest "$newest" without
if [[ ${1:-} == --quick ]]; then
    shift
    export CONNAGE_TEST_SERVERS=${CONNAGE_TEST_SERVERS:-valkey-9.1}
    together "types" .venv/newest/bin/mypy
    together "our tests, redis-py $newest" own_tests newest "$@"
    those_together
    finish
fi
environment newest-hiredis "$newest" with
environment oldest "$oldest" with
environment oldest-plain "$oldest" without
together "types" .venv/newest/bin/mypy
together "our tests, redis-py $newest" own_tests newest "$@"
together "our tests, redis-py $oldest, hiredis" own_tests oldest "$@"
those_together
together "replies, redis-py $newest, hiredis" own_tests newest-hiredis tests/test_replies.py
together "replies, redis-py $oldest" own_tests oldest-plain tests/test_replies.py
together "how it is packed" packed
together "redis-py $newest's own tests of pools" upstreams_tests newest "$newest"
those_together
step "redis-py $oldest's own tests of pools" upstreams_tests oldest "$oldest"
[[ -z ${all:-} ]] || everything
finish
