#!/usr/bin/env bash
# Makes the images of packaging/images with buildah, as root, and tries each: its own command starts
# a server that evicts.
#
# No public registry is asked. What the images are made from is here Debian 13 with its own Redis 8,
# and with the Valkey 9 of .servers, in place of docker.io's: BASE of the Containerfiles.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ $EUID == 0 ]] || { echo "chroot isolation wants root" >&2; exit 1; }
export BUILDAH_ISOLATION=chroot
readonly at=$PWD/target/package/images
readonly storage=(--storage-driver vfs --root "$at/storage" --runroot "$at/run")

packaging/tools.sh images
scripts/servers.sh valkey-9.1
root=$(packaging/root.sh trixie)
rm -rf "$at" && mkdir -p "$at"
trap 'rm -rf "$at"' EXIT

# The entry point of both public images, as far as it matters here, is to run the command.
base() { # NAME [PROGRAM…]
    local container
    container=$(buildah "${storage[@]}" from scratch)
    buildah "${storage[@]}" add --quiet "$container" "$at/root.tar" / >/dev/null
    if (($# > 1)); then
        buildah "${storage[@]}" copy --quiet "$container" "${@:2}" /usr/local/bin/ >/dev/null
    fi
    buildah "${storage[@]}" commit --quiet --rm "$container" "base-$1" >/dev/null
}

# The unpacked .tar.gz is the context, as the Containerfiles say.
image() { # NAME BASE
    buildah "${storage[@]}" bud --quiet --file "packaging/images/$1.Containerfile" \
        --build-arg "BASE=localhost/$2" --tag "connage-$1" "$at/context" >/dev/null
}

tar --create --file "$at/root.tar" --directory "$root" --exclude=./var/cache --exclude=./usr/share .
mkdir "$at/context"
tar -xzf target/package/connage-*-linux-x86_64.tar.gz -C "$at/context" --strip-components 1
base redis
base valkey .servers/valkey-9.1/bin/valkey-server
image redis base-redis
image valkey base-valkey
image module base-redis
PYTHONPATH=packaging/tests IMAGES=$at unshare --net --mount --pid --fork --kill-child --mount-proc \
    sh -c 'ip link set lo up && exec python3 -B -W ignore::ResourceWarning -m unittest --verbose images'
