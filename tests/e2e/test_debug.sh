#!/usr/bin/env bash
# What a healthy cluster shows of its insides while 100 watch streams come and go: goroutines, traces, and
# no leak; and that the same watch does find watchers that come and stay.
# shellcheck source=tests/support/cluster.sh
source "$(dirname "$0")/../support/cluster.sh"
metrics() { echo "127.0.0.1:$((port0 + 10 + $1))"; }
all_metrics="$(metrics 1),$(metrics 2),$(metrics 3)"
for i in 1 2 3; do start_member "$i" --listen-metrics-urls "http://$(metrics "$i")"; done
wait_healthy

"$B/tests/e2e/tool_watch_churn" "$(endpoints)" "$dir/stop" 100 >"$dir/churn.out" 2>"$dir/churn.err" &
churn=$!
for _ in $(seq 1200); do grep -qs churning "$dir/churn.err" && break; kill -0 $churn 2>/dev/null || break; sleep 0.05; done
holds "100 watchers come and go" "$(cat "$dir/churn.err")" '^churning$'

out=$("$KVCTL" debug leaks --period 400ms --rounds 10 --endpoints "$all_metrics" 2>&1); code=$?
same "under churn kvctl debug leaks is content" "$code" 0
same "each member watched ten rounds and found no leak" "$(grep -c '^done: round 10 of 10, threshold 2, .*, leaks 0$' <<<"$out")" 3
[ "$code" -eq 0 ] || sed 's/^/#   /' <<<"$out"

out=$("$KVCTL" debug goroutines --short --endpoints "$(metrics 1)" 2>&1)
holds "the short dump counts goroutines by place" "$out" '^[0-9]+ goroutines in [0-9]+ places:$'
holds "it shows what waits for what" "$out" '^[0-9]+ goroutines? \[[a-z ]+, [0-9.]+ to [0-9.]+ s\]: '
out=$("$KVCTL" debug goroutines --endpoints "$all_metrics" 2>&1)
same "the dump is asked of each endpoint" "$(grep -c '^== 127.0.0.1:' <<<"$out")" 3
same "each member has its WAL's writer" "$(grep -c '\]: wal-writer$' <<<"$out")" 3
holds "goroutines have stacks and creation sites" "$out" '^  created at wal_open\+0x'

"$KVCTL" debug trace --for 300ms --out "$dir/trace.json" --endpoints "$(metrics 1)" >/dev/null 2>"$dir/trace.err"
same "a trace is written" "$?$(cat "$dir/trace.err")" 0
# A recording that begins between the two halves of an event may have one end without a begin for each thread.
holds "it is JSON with slices, next to none of them orphaned" "$(jq -c '[.otherData.repaired <= 2, ([.traceEvents[] | select(.ph == "B")] | length > 10)]' "$dir/trace.json" 2>&1)" '^\[true,true\]$'
"$KVCTL" debug trace start --endpoints "$(metrics 2)" 2>&1
out=$("$KVCTL" debug trace start --endpoints "$(metrics 2)" 2>&1); code=$?
same "a second recording is refused" "$code $out" "1 Error: $(metrics 2): a trace is being taken already; stop that one first"
holds "a recording is fetched by stop" "$("$KVCTL" debug trace stop --out - --endpoints "$(metrics 2)" 2>&1 | jq -c .otherData.full 2>&1)" '^(true|false)$'
out=$("$KVCTL" debug trace stop --endpoints "$(metrics 2)" 2>&1)
same "and then there is none" "$?$out" "1Error: $(metrics 2): no trace is being taken"

touch "$dir/stop"
wait $churn; code=$?
same "every watch worked" "$code" 0
holds "hundreds of them" "$(cat "$dir/churn.out")" '^[0-9]{3,} watches$'

# Five that come and stay look like a leak from the inside.
curl -fsS -X POST "http://$(metrics 1)/debug/leaks/start?period=200ms&rounds=1000" >/dev/null
stay=()
for i in 1 2 3 4 5; do "$KVCTL" --endpoints "$(endpoint 1)" watch "stay$i" >/dev/null 2>&1 & stay+=($!); done
out=
for _ in $(seq 600); do
    out=$("$KVCTL" debug leaks report --stacks --endpoints "$(metrics 1)" 2>&1); code=$?
    [ "$code" -eq 5 ] && break
    sleep 0.1
done
same "five watchers that stay are reported, with status 5" "$code" 5
holds "by how much they grew, and where they are" "$out" '^\+5 \([0-9]+ -> [0-9]+\) [a-z0-9-]+: [a-z_0-9.]+ < '
same "a line is no longer than its stack of 128 characters" "$(grep '^+' <<<"$out" | sed 's/^[^:]*: //' | awk 'length > 128' | wc -l)" 0
holds "with whole stacks when asked" "$out" '^  created at [a-z_0-9]+\+0x'
out=$("$KVCTL" debug leaks --endpoints "$(metrics 1)" 2>&1)
same "one watch at a time" "$?$out" "1Error: $(metrics 1): a watch is on already; POST /debug/leaks/stop ends it"
"$KVCTL" debug leaks stop --endpoints "$(metrics 1)" >/dev/null 2>&1
holds "a stopped watch is over" "$("$KVCTL" debug leaks report --endpoints "$(metrics 1)" 2>&1)" '^done: round [0-9]+ of 1000'
for i in "${stay[@]}"; do kill "$i" 2>/dev/null; wait "$i" 2>/dev/null; done

out=$("$KVCTL" debug goroutines --endpoints "$(endpoint 1)" 2>&1)
same "a client's port says which address is wanted" "$?$out" "1Error: $(endpoint 1) has no debug pages: give the address of its --listen-metrics-urls"
out=$("$KVCTL" debug leaks --rounds 0 --endpoints "$(metrics 1)" 2>&1)
same "wrong numbers are refused" "$?$out" "1Error: $(metrics 1): rounds=0: it takes 1 to 100000"
holds "the metrics have the latency of scheduling" "$(curl -fsS "http://$(metrics 1)/metrics")" '^kvd_runtime_sched_latency_seconds_count [1-9]'
