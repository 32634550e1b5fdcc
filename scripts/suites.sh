#!/usr/bin/env bash
# Runs targets of the Makefile one after the other, whatever fails, and says in its last line
# what failed and how to run that alone.
#
#   scripts/suites.sh TARGET …
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=()

# The tests with a server that failed, as a pattern for `make one`.
failed_tests() {
    sed -E 's/\x1b\[[0-9;]*m//g' "$log" | sed -nE 's/^ *(FAIL|TIMEOUT|SIG[A-Z]+|ABORT|LEAK-FAIL) \[[^]]*\] .* ([^ ]+::[^ ]+)$/\2/p' |
        sort -u | paste -sd '|'
}

for target; do
    echo "== make $target"
    started=$SECONDS
    if make --no-print-directory "$target" 2>&1 | tee "$log"; then
        echo "== make $target: passed in $((SECONDS - started)) s"
    else
        echo "== make $target: FAILED after $((SECONDS - started)) s"
        tests=$(failed_tests)
        if [[ -n $tests ]]; then
            failed+=("make one TEST='$tests'")
        else
            failed+=("make $target")
        fi
    fi
done

if ((${#failed[@]})); then
    printf -v commands '%s; ' "${failed[@]}"
    echo "FAILED: ${#failed[@]} of $# suites. Each alone: ${commands%; }" >&2
    exit 1
fi
echo "all $# suites passed in $SECONDS s"
