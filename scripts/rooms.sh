#!/usr/bin/env bash
# Fails where a room of the house imports from one above it, or beside it.
set -euo pipefail
cd "$(dirname "$0")/.."

# A room, and what of its crate it may import besides itself.
rooms=(
    "engine/src/text:"
    "engine/src/client: text"
    "engine/src/policy: text client"
    "engine/src/request: text client policy"
    "engine/src/record: text client"
    "engine/src/reaper: text client policy request record"
    "src/kernel:"
    "src/api: kernel test_faults"
)

status=0
for row in "${rooms[@]}"; do
    room=${row%%:*}
    names="${room##*/}${row#*:}"
    [[ -f $room/mod.rs ]] || { echo "$room: no such room" >&2; exit 2; }
    # Without comments and what is allowed, no path to the root may be left, neither by `super`: of a room's own
    # files by two, of its mod.rs by one.
    found=$(grep -rn --include='*.rs' '' "$room" |
        sed -E -e '/^[^:]*:[0-9]*: *\/\//d' -e "s/\bcrate::(${names// /|})\b//g" |
        grep -E '\bcrate::|super::super|/mod\.rs:[0-9]*:(pub )?use super::' || true)
    if [[ -n $found ]]; then
        printf '%s may import only:%s\n%s\n' "$room" "${row#*:}" "$found" >&2
        status=1
    fi
done
exit "$status"
