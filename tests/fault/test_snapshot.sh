#!/usr/bin/env bash
# A member that was away for so long that the log it needs is gone comes back by a snapshot, under load.
source "$(dirname "$0")/../support/cluster.sh"
kvd_flags=(--snapshot-count 100 --snapshot-catchup-entries 100 --wal-segment-bytes 4194304)
start_cluster
k() { "$KVCTL" --endpoints "$(for i in "${!pid[@]}"; do printf '%s,' "$(endpoint "$i")"; done)" "$@"; }
l=$(wait_leader)
away=$((l % 3 + 1))
stop_member $away
head -c 60000 /dev/zero | tr '\0' v >"$dir/value"
touch "$dir/go"
"$B/tests/fault/tool_workload" "$(for i in "${!pid[@]}"; do printf '%s ' "$(endpoint "$i")"; done | xargs | tr ' ' ,)" "$dir/stop" 8 >"$dir/workload" 2>&1 &
load=$!
for n in $(seq 400); do k put "big/$n" <"$dir/value" >/dev/null || fail "put $n"; done
start_member $away
wait_healthy
touch "$dir/stop"
wait $load || fail "the workload's own checks hold"
grep -v '^#' "$dir/workload"
same "the member that was away has all keys" \
    "$("$KVCTL" --endpoints "$(endpoint $away)" get --prefix big/ --consistency s --keys-only | grep -c big/)" 400
holds "it came back by a snapshot" "$(cat "$dir/m$away.log")" "applied snapshot|installed"
rev=$(k get x -w json | jq .header.revision)
same "HashKV is equal on all members" \
    "$("$KVCTL" --endpoints "$(endpoints)" endpoint hashkv --rev "$rev" -w json | jq -c '[.[].HashKV.hash] | unique | length')" 1
