#!/bin/sh
# The compiler as packaging/build.sh has cargo call it: no path of this machine's gets into the module,
# and what is for the target is linked with the sysroot's libc.
set -eu

set -- "$@" "--remap-path-prefix=$HERE=/connage" "--remap-path-prefix=$CARGO_HOME=/cargo"
case " $* " in
    *" --target "*)
        # gcc looks beside itself first, and finds the machine's own: hence -B and -L.
        set -- "$@" "-Clinker=$LINKER" "-Clink-arg=--sysroot=$SYSROOT" \
            "-Clink-arg=-B$SYSROOT/usr/lib/$ARCH-linux-gnu" "-Clink-arg=-L$SYSROOT/usr/lib/$ARCH-linux-gnu" \
            "-Clink-arg=-L$SYSROOT/lib/$ARCH-linux-gnu" "-Clink-arg=-Wl,--build-id=sha1"
        ;;
esac
exec "$@"
