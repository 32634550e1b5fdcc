#!/usr/bin/env bash
# Shows the module at work: starts a server whose connections live two seconds, opens one,
# and waits for its end. Leaves the server running and says how to go on.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly server=.servers/redis-7.0/server cli=.servers/redis-7.0/cli
readonly module=${CONNAGE_MODULE:-$PWD/target/release/libconnage.so}

dir=$(mktemp -d "${TMPDIR:-/tmp}/connage-demo.XXXXXX")
for port in {7379..7479}; do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break # nobody answers: it is free
done

echo "A server on port $port, with the module: maxage 2s"
setsid "$server" --port "$port" --bind 127.0.0.1 --dir "$dir" --save '' --daemonize yes \
    --pidfile "$dir/pid" --logfile "$dir/log" --loglevel verbose \
    --loadmodule "$module" maxage 2s >/dev/null
tries=0
until [[ $("$cli" -p "$port" PING 2>/dev/null) == PONG ]]; do
    ((++tries <= 100)) || { cat "$dir/log" >&2; exit 1; }
    sleep 0.1
done

exec 3<>"/dev/tcp/127.0.0.1/$port"
start=$(date +%s%N)
echo "A connection, as CONNAGE.LIST shows it:"
"$cli" -p "$port" CONNAGE.LIST LIMIT 1 | paste - - | sed 's/^/    /'
if ! timeout 20 cat <&3 >/dev/null; then
    echo "It was not evicted: see $dir/log" >&2
    exit 1
fi
echo "The server closed it after $((($(date +%s%N) - start) / 1000000)) ms. INFO connage says:"
"$cli" -p "$port" INFO connage | grep -E 'evicted_(connections|quiet)|lag_usec_p99' | sed 's/^/    /'
echo "It runs on. Try, say, why it went:"
echo "    $cli -p $port CONNAGE.LOG GET 1"
echo "and stop it with:"
echo "    $cli -p $port SHUTDOWN"
