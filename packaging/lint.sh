#!/usr/bin/env bash
# What Debian's and rpm's own checkers say of the packages in target/package, and of the scripts and
# the man page. What they say and is meant so stands, with its reason, in packaging/debian/lintian-overrides
# and packaging/rpmlint.toml.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
lintian --fail-on error,warning --allow-root target/package/*.deb
rpmlint --config packaging/rpmlint.toml target/package/*.rpm
shellcheck packaging/*.sh packaging/scripts/prerm scripts/debian.sh
said=$(LC_ALL=C.UTF-8 man --warnings --local-file packaging/man/connage.7 2>&1 >/dev/null)
[[ -z $said ]] || { echo "$said" >&2; exit 1; }
