#!/usr/bin/env bash
# Tries the packages that are in target/package, as root: in fresh Debians, the rpm by rpm, and
# built anew in another folder.
#
#   packaging/test.sh [NAME …]     NAME: as Python's unittest takes them, such as test_debian.Debian12
#
# It has processes and a network of its own, so that nothing is left behind, and that servers
# have their own ports.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ $EUID == 0 ]] || { echo "fresh Debians can only be made as root" >&2; exit 1; }
packaging/tools.sh test
for suite in bookworm trixie; do
    packaging/root.sh "$suite" >/dev/null
done
packaging/previous.sh
(($#)) || set -- discover --start-directory packaging/tests
PYTHONPATH=packaging/tests PYTHONDONTWRITEBYTECODE=1 exec \
    unshare --net --mount --pid --fork --kill-child --mount-proc \
    sh -c 'ip link set lo up && exec "$@"' - .tools/tests/bin/python -W ignore::ResourceWarning -m unittest --buffer --verbose "$@"
