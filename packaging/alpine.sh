#!/bin/sh
# Builds the module for musl, on Alpine itself (as root, in a container), tries it with Alpine's own
# server, and packs it: target/package/connage-VERSION-linux-ARCH-musl.tar.gz.
set -eu

cd "$(dirname "$0")/.."
apk add --no-cache clang-libclang gcc musl-dev python3 bash redis >/dev/null
version=$(packaging/version.sh)
arch=$(uname -m)
name=connage-$version-linux-$arch-musl

# A module is loaded, so that libc cannot be linked into it.
RUSTFLAGS="-C target-feature=-crt-static --remap-path-prefix=$PWD=/connage" \
    cargo build --locked --release --lib --target-dir target/musl
mkdir -p "target/package/$name"
strip --strip-unneeded -o "target/package/$name/libconnage.so" target/musl/release/libconnage.so
chmod 755 "target/package/$name/libconnage.so"
cp README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE packaging/connage.conf "target/package/$name/"

# A connection that idles is closed, and the server counts it.
redis-server --port 6399 --save '' --daemonize yes --loadmodule "$PWD/target/package/$name/libconnage.so" maxage 1s
for _ in $(seq 50); do redis-cli -p 6399 PING >/dev/null 2>&1 && break; sleep 0.2; done
python3 -c 'import socket; assert socket.create_connection(("127.0.0.1", 6399), timeout=30).recv(1) == b""'
redis-cli -p 6399 INFO connage | tr -d '\r' | grep -x 'connage_evicted_quiet:[1-9][0-9]*'
redis-cli -p 6399 SHUTDOWN NOSAVE || true

tar -C target/package -czf "target/package/$name.tar.gz" "$name"
rm -r "target/package/$name"
