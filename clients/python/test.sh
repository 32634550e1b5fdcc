#!/usr/bin/env bash
# Runs the client's tests, in virtual environments that it makes beside itself: types; our own
# tests with the newest and the oldest redis-py; redis-py's own tests of pools, with our classes
# in place of its own. What is skipped is named; where CI is set, it fails instead.
#
#   clients/python/test.sh [words for pytest …]
#
# PYTHON: the interpreter (python3); CONNAGE_MODULE: the module; CONNAGE_TEST_SERVERS: names.
set -euo pipefail
cd "$(dirname "$0")"

readonly newest=8.1.0 oldest=5.0.0
readonly port=6379 # redis-py's own tests expect their server there
readonly python=${PYTHON:-python3}
failed=()

environment() { # NAME VERSION: with that version of redis-py
    local folder=.venv/$1 wanted
    wanted="$2 $("$python" -V) $(cat requirements-test.txt pyproject.toml test.sh | sha256sum)"
    if [[ -f $folder/made && $(<"$folder/made") == "$wanted" ]]; then
        return
    fi
    rm -rf "$folder"
    "$python" -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check -r requirements-test.txt
    # Once with hiredis and once without.
    [[ $1 == oldest ]] || "$folder/bin/pip" uninstall --quiet --yes hiredis
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation \
        "redis==$2" --editable .
    echo "$wanted" >"$folder/made"
}

step() { # NAME COMMAND…
    echo "== $1"
    "${@:2}" || failed+=("$1")
}

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

environment newest "$newest"
environment oldest "$oldest"
step "types" .venv/newest/bin/mypy
step "our tests, redis-py $newest" own_tests newest "$@"
step "our tests, redis-py $oldest" own_tests oldest "$@"
step "redis-py $newest's own tests of pools" upstreams_tests newest "$newest"
step "redis-py $oldest's own tests of pools" upstreams_tests oldest "$oldest"

if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
