#!/usr/bin/env bash
# SIGKILL under a steady write load through all endpoints: the leader again and again, then all members at
# once. Nothing acknowledged may be lost. Settings: KVD_KILLS (leader kills: 6; the long form has 20).
source "$(dirname "$0")/../support/cluster.sh"
kills=${KVD_KILLS:-6}
start_cluster
"$B/tests/fault/tool_workload" "$(endpoints)" "$dir/stop" 12 >"$dir/workload" 2>&1 &
load=$!
resumed() { # the time from a kill to the next acknowledged write, through any endpoint that is left
    local from; from=$(date +%s%N)
    until "$KVCTL" --endpoints "$(for i in "${!pid[@]}"; do printf '%s,' "$(endpoint "$i")"; done)" \
        --command-timeout 1s put after-kill x >/dev/null 2>&1; do
        [ $(($(date +%s%N) - from)) -lt 30000000000 ] || { fail "writes resume after a kill"; return 1; }
        sleep 0.02
    done
    echo $((($(date +%s%N) - from) / 1000000))
}
gaps=()
for n in $(seq "$kills"); do
    sleep 0.5
    l=$(wait_leader) || break
    kill_member "$l"
    gaps+=("$(resumed)")
    start_member "$l"
    wait_healthy
done
if [ "${#gaps[@]}" -eq "$kills" ]; then pass "the leader was killed and restarted $kills times"; else fail "the leader was killed and restarted $kills times"; fi
echo "# writes resumed after (ms): ${gaps[*]} (election timeout: 1000)"
sleep 0.5
for i in 1 2 3; do kill -KILL "${pid[$i]}"; done
for i in 1 2 3; do wait "${pid[$i]}" 2>/dev/null; unset "pid[$i]"; done
for i in 1 2 3; do start_member $i; done
wait_healthy
pass "all members were killed at once and came back"
sleep 0.5
touch "$dir/stop"
wait $load || fail "the workload's own checks hold"
cat "$dir/workload"
same "HashKV is equal on all members" \
    "$("$KVCTL" --endpoints "$(endpoints)" endpoint hashkv --rev "$("$KVCTL" --endpoints "$(endpoint 1)" get x -w json | jq .header.revision)" -w json | jq -c '[.[].HashKV | [.hash, .compact_revision]] | unique | length')" 1
