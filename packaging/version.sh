#!/usr/bin/env bash
# The one version there is, of Cargo.toml.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "connage"))'
