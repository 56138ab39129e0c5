#!/usr/bin/env bash
# The leader is stopped (SIGSTOP) until another leads, and goes on: it must not answer from before. Requests that
# wait in its sockets when it wakes are asked of the new leader or fail; a lease that was revoked meanwhile is
# not kept alive by it. Settings: KVD_PAUSES (4).
source "$(dirname "$0")/../support/cluster.sh"
pauses=${KVD_PAUSES:-4}
kvd_flags=(--heartbeat-interval 50 --election-timeout 500)
start_cluster
ask() { "$KVCTL" --endpoints "$1" --command-timeout 10s "${@:2}"; }
stale=0 kept=0 answered=0
for n in $(seq "$pauses"); do
    l=$(wait_leader) || break
    lease=$(ask "$(endpoint "$l")" lease grant 60 | grep -oE '[0-9a-f]{6,}' | head -n 1)
    ask "$(endpoint "$l")" put key "before $n" >/dev/null
    kill -STOP "${pid[$l]}"
    others=; for i in "${!pid[@]}"; do [ "$i" = "$l" ] || others+="${others:+,}$(endpoint "$i")"; done
    for t in $(seq 200); do ask "${others%%,*}" put key "after $n" >/dev/null 2>&1 && break; sleep 0.05; done
    ask "${others%%,*}" lease revoke "$lease" >/dev/null 2>&1 || fail "the others revoke a lease in round $n"
    readers=()
    for i in $(seq 8); do
        ask "$(endpoint "$l")" get key --print-value-only >"$dir/read.$i" 2>&1 & readers+=($!)
        ask "$(endpoint "$l")" lease keep-alive --once "$lease" >"$dir/kept.$i" 2>&1 & readers+=($!)
    done
    sleep 1
    kill -CONT "${pid[$l]}"
    wait "${readers[@]}"
    for i in $(seq 8); do
        grep -q "before" "$dir/read.$i" && stale=$((stale + 1))
        grep -q "after $n" "$dir/read.$i" && answered=$((answered + 1))
        grep -qE "keepalived|keep alived" "$dir/kept.$i" && kept=$((kept + 1))
    done
    wait_healthy
done
same "no read that waited for a stopped leader is answered from before" "$stale" 0
same "no lease that was revoked meanwhile is kept alive by it" "$kept" 0
holds "reads that waited are answered" "$answered" '^[1-9]'
echo "# $answered of $((8 * pauses)) reads were answered"
