#!/usr/bin/env bash
# Runs the end-to-end tests with every server under valgrind, and judges by its reports alone:
# servers are twenty times slower there, so that tests which measure time may fail.
#
#   scripts/valgrind.sh [SERVER …]      redis_7_0 where none is named
#
# On those whose allocator valgrind can take the place of: it is linked dynamically.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v valgrind >/dev/null || { echo "valgrind is missing here" >&2; exit 1; }

reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
bad=0
for server in "${@:-redis_7_0}"; do
    rm -f "$reports"/*
    # A test that never ends would be one that waits for something fast.
    CONNAGE_UNDER="valgrind --quiet --num-callers=30 --keep-debuginfo=yes \
        --soname-synonyms=somalloc=*jemalloc* --child-silent-after-fork=yes --log-file=$reports/%p" \
        timeout 1500 cargo test --locked --release --test e2e -- --test-threads=3 "$server" \
        >"$reports/tests" 2>&1 || true
    result=$(grep '^test result' "$reports/tests" || echo 'the tests did not end')
    servers=$(find "$reports" -name '[0-9]*' | wc -l)
    # Reports have an empty line between them.
    ours=$(sed -E 's/^==[0-9]+== ?//' "$reports"/[0-9]* | awk 'BEGIN { RS = "" } /connage/ { n++; print > "/dev/stderr" } END { print n + 0 }')
    echo "$server: $servers servers under valgrind, $ours reports that involve the module; $result"
    if ((ours > 0 || servers < 40)); then
        bad=1
    fi
done
exit $bad
