#!/usr/bin/env bash
# Start three members on loopback in the foreground, wait until they are healthy, print how to talk
# to them; Ctrl-C stops all.  Usage: run.sh [BUILD-FOLDER]
# Settings: KVD_RUN_DIR (where data goes, default BUILD/run), KVD_RUN_PORT (first of six ports, 2379).
set -u
build=${1:-build}
dir=${KVD_RUN_DIR:-$build/run}
port=${KVD_RUN_PORT:-2379}
mkdir -p "$dir"
client() { echo "http://127.0.0.1:$((port + ($1 - 1) * 10000))"; }
peer() { echo "http://127.0.0.1:$((port + ($1 - 1) * 10000 + 1))"; }
cluster=
for i in 1 2 3; do cluster+="${cluster:+,}m$i=$(peer $i)"; done
pids=()
stop() {
    trap - INT TERM EXIT
    kill -TERM "${pids[@]}" 2>/dev/null
    wait "${pids[@]}" 2>/dev/null
    echo "stopped; data stays in $dir"
}
trap 'stop; exit 0' INT TERM
trap stop EXIT
for i in 1 2 3; do
    "$build/kvd" --name "m$i" --data-dir "$dir/m$i.kvd" \
        --listen-client-urls "$(client $i)" --advertise-client-urls "$(client $i)" \
        --listen-peer-urls "$(peer $i)" --initial-advertise-peer-urls "$(peer $i)" \
        --initial-cluster "$cluster" --initial-cluster-token kvd-run \
        >"$dir/m$i.log" 2>&1 &
    pids+=($!)
done
endpoints="$(client 1),$(client 2),$(client 3)"
for _ in $(seq 300); do
    for n in 0 1 2; do
        if ! kill -0 "${pids[$n]}" 2>/dev/null; then
            echo "member m$((n + 1)) stopped; the end of $dir/m$((n + 1)).log:" >&2
            tail -n 5 "$dir/m$((n + 1)).log" >&2
            exit 1
        fi
    done
    if "$build/kvctl" --endpoints "$endpoints" endpoint health >/dev/null 2>&1; then
        healthy=1
        break
    fi
    sleep 0.1
done
if [ -z "${healthy:-}" ]; then
    echo "the members are up, but not healthy after 30 s; their logs are in $dir" >&2
    exit 1
fi
cat <<TEXT
three members are healthy: $endpoints
their logs and data: $dir

try, in another shell:
  $build/kvctl --endpoints $endpoints put greeting hello
  $build/kvctl --endpoints $endpoints get greeting
  $build/kvctl --endpoints $endpoints endpoint status -w table

Ctrl-C stops all three.
TEXT
wait -n "${pids[@]}"
echo "a member stopped by itself; the logs are in $dir" >&2
exit 1
